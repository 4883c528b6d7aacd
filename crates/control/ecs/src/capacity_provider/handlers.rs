//! The operations on capacity providers.

use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::Arn;
use estiva_schema::Request;
use estiva_store::{Row, Snapshot};

use super::managed_scaling;
use super::reserved::{RESERVED, arn, is_fargate, name_of, shown};
use super::table::{BY_AUTO_SCALING_GROUP, CapacityProviderRow};
use crate::EcsService;
use crate::cluster;
use crate::cluster::table::{BY_CAPACITY_PROVIDER, ClusterRow};
use crate::error::{self, invalid};
use crate::failure::missing;
use crate::name;
use crate::page::Page;
use crate::scope::Scope;
use crate::tag::Tags;

/// Names that begin so are AWS's.
const RESERVED_PREFIXES: [&str; 3] = ["aws", "ecs", "fargate"];

pub(crate) async fn create(
    service: &EcsService,
    request: Request<api::CreateCapacityProviderRequest>,
) -> Result<api::CreateCapacityProviderResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    if input.managed_instances_provider.is_some() || input.cluster.as_ref().is_some_and(|cluster| !cluster.is_empty()) {
        return Err(invalid("managedInstancesProvider: Estiva does not support it yet"));
    }
    let lower = input.name.to_ascii_lowercase();
    if !name::is_legal(&input.name) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(invalid(
            "The specified capacity provider name is invalid. Up to 255 characters are allowed, including letters (upper and \
            lowercase), numbers, underscores, and hyphens. The name cannot be prefixed with \"aws\", \"ecs\", or \"fargate\". \
            Specify a valid name and try again.",
        ));
    }
    let provider = input.auto_scaling_group_provider.clone();
    let provider = provider.ok_or_else(|| invalid("autoScalingGroupProvider must be given."))?;
    let is_group = provider.auto_scaling_group_arn.parse::<Arn>().is_ok_and(|arn| arn.service == "autoscaling");
    if !is_group {
        return Err(invalid(format!(
            "autoScalingGroupArn: '{}' is no ARN of an Auto Scaling group.",
            provider.auto_scaling_group_arn
        )));
    }
    let provider = managed_scaling::filled_in(provider)?;
    let tags = Tags::from_request(input.tags.clone())?;
    let update = service.store.update(|tx| {
        if tx.contains::<CapacityProviderRow>(&scope.key(&[&input.name])) {
            return Err(invalid(format!("A capacity provider named {} exists already.", input.name)));
        }
        let of_group = scope.key(&[&provider.auto_scaling_group_arn]);
        if tx.index_count::<CapacityProviderRow>(BY_AUTO_SCALING_GROUP, &of_group) > 0 {
            return Err(invalid("The Auto Scaling group is used by another capacity provider already."));
        }
        Ok(tx.put(CapacityProviderRow {
            scope: scope.clone(),
            name: input.name.clone(),
            auto_scaling_group_provider: provider.clone(),
            was_updated: false,
            tags: tags.clone(),
            created_at: service.ambient.now(),
        }))
    });
    let row = update.await.map_err(error::update)?;
    Ok(api::CreateCapacityProviderResponse { capacity_provider: Some(to_api(&row, true)) })
}

pub(crate) async fn update(
    service: &EcsService,
    request: Request<api::UpdateCapacityProviderRequest>,
) -> Result<api::UpdateCapacityProviderResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    if input.managed_instances_provider.is_some() {
        return Err(invalid("managedInstancesProvider: Estiva does not support it yet"));
    }
    let change = input.auto_scaling_group_provider.clone();
    let change = change.ok_or_else(|| invalid("autoScalingGroupProvider must be given."))?;
    let update = service.store.update(|tx| {
        let mut row = (*find(tx, &scope, &input.name)?).clone();
        row.auto_scaling_group_provider = managed_scaling::updated(row.auto_scaling_group_provider, &change)?;
        row.was_updated = true;
        Ok::<_, Error>(tx.put(row))
    });
    let row = update.await.map_err(error::update)?;
    Ok(api::UpdateCapacityProviderResponse { capacity_provider: Some(to_api(&row, true)) })
}

pub(crate) async fn delete(
    service: &EcsService,
    request: Request<api::DeleteCapacityProviderRequest>,
) -> Result<api::DeleteCapacityProviderResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let update = service.store.update(|tx| {
        let row = find(tx, &scope, &input.capacity_provider)?;
        let of = scope.key(&[&row.name]);
        if let Some(cluster) = tx.index::<ClusterRow>(BY_CAPACITY_PROVIDER, &of).next() {
            return Err(Error::client_exception(format!(
                "The capacity provider cannot be deleted because it is associated with cluster: {}. Remove the capacity provider \
                from the cluster and try again.",
                cluster.name
            )));
        }
        tx.delete::<CapacityProviderRow>(&row.key());
        Ok(row)
    });
    let row = update.await.map_err(error::update)?;
    let mut shown = to_api(&row, true);
    shown.status = Some(api::CapacityProviderStatus::Inactive);
    shown.update_status = Some(api::CapacityProviderUpdateStatus::DeleteComplete);
    Ok(api::DeleteCapacityProviderResponse { capacity_provider: Some(shown) })
}

pub(crate) fn describe(
    service: &EcsService,
    request: &Request<api::DescribeCapacityProvidersRequest>,
) -> Result<api::DescribeCapacityProvidersResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let with_tags = input.include.iter().flatten().any(|field| *field == api::CapacityProviderField::Tags);
    let cluster = input.cluster.as_deref().map(|cluster| cluster::active(&view, &scope, Some(cluster))).transpose()?;
    let is_wanted = |name: &str| cluster.as_ref().is_none_or(|row| row.capacity_providers.iter().any(|it| it == name));
    let page = Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    if let Some(references) = input.capacity_providers.as_ref().filter(|references| !references.is_empty()) {
        for reference in references {
            let name = name_of(&scope, reference).unwrap_or(reference);
            match one(&view, &scope, name, with_tags).filter(|_| is_wanted(name)) {
                Some(provider) => found.push(provider),
                None => failures.push(missing(arn(&scope, name))),
            }
        }
    } else {
        let own = view.scan::<CapacityProviderRow>(&scope.key(&[""])).map(|row| to_api(&row, with_tags));
        found.extend(RESERVED.into_iter().map(|name| shown(&scope, name)).chain(own));
        found.retain(|it| it.name.as_deref().is_some_and(is_wanted));
    }
    let key = |provider: &api::CapacityProvider| provider.name.clone().unwrap_or_default();
    found.sort_by_key(key);
    let (providers, next_token) = page.cut(found.into_iter().filter(|it| key(it) > page.after), key);
    Ok(api::DescribeCapacityProvidersResponse {
        capacity_providers: Some(providers),
        failures: Some(failures),
        next_token,
    })
}

/// Checks that all of these providers are there; gives their names.
pub(crate) fn check_there(view: &Snapshot, scope: &Scope, references: &[String]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for reference in references {
        let name = name_of(scope, reference).filter(|name| one(view, scope, name, false).is_some());
        let unknown = || invalid(format!("The specified capacity provider '{reference}' was not found."));
        let name = name.ok_or_else(unknown)?.to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn one(view: &Snapshot, scope: &Scope, name: &str, with_tags: bool) -> Option<api::CapacityProvider> {
    if is_fargate(name) {
        return Some(shown(scope, name));
    }
    view.get::<CapacityProviderRow>(&scope.key(&[name])).map(|row| to_api(&row, with_tags))
}

/// A provider that its owner may change.
fn find(view: &Snapshot, scope: &Scope, reference: &str) -> Result<Arc<CapacityProviderRow>, Error> {
    let name = name_of(scope, reference).unwrap_or(reference);
    if is_fargate(name) {
        return Err(invalid(format!("The capacity provider {name} is reserved and cannot be changed or deleted.")));
    }
    let row = view.get::<CapacityProviderRow>(&scope.key(&[name]));
    row.ok_or_else(|| invalid(format!("The specified capacity provider '{reference}' was not found.")))
}

fn to_api(row: &CapacityProviderRow, with_tags: bool) -> api::CapacityProvider {
    api::CapacityProvider {
        auto_scaling_group_provider: Some(row.auto_scaling_group_provider.clone()),
        capacity_provider_arn: Some(arn(&row.scope, &row.name)),
        name: Some(row.name.clone()),
        status: Some(api::CapacityProviderStatus::Active),
        tags: Some(if with_tags { row.tags.to_api() } else { Vec::new() }),
        r#type: Some(api::CapacityProviderType::Ec2Autoscaling),
        update_status: row.was_updated.then_some(api::CapacityProviderUpdateStatus::UpdateComplete),
        ..api::CapacityProvider::default()
    }
}
