//! PutAttributes, DeleteAttributes, ListAttributes.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_schema::Request;
use estiva_store::{Row, Tx};

use crate::EcsService;
use crate::container_instance::table::{ContainerInstanceRow, ContainerInstanceStatus, InstanceAttribute};
use crate::error::{self, invalid};
use crate::page::Page;
use crate::scope::Scope;
use crate::{cluster, container_instance};

/// PutAttributes takes so many at a time.
const ATTRIBUTES_MAX: usize = 10;
/// The most of an owner's attributes on one instance.
const CUSTOM_ATTRIBUTES_MAX: usize = 10;
const CHARS_MAX: usize = 128;

pub(crate) async fn put(
    service: &EcsService,
    request: Request<api::PutAttributesRequest>,
) -> Result<api::PutAttributesResponse, Error> {
    let Request { input, caller, .. } = request;
    check(&input.attributes)?;
    for attribute in &input.attributes {
        check_name(attribute)?;
    }
    each(service, &Scope::of(&caller), input.cluster.as_deref(), &input.attributes, |row, attribute| {
        row.attributes.retain(|known| known.name != attribute.name);
        row.attributes.push(InstanceAttribute { name: attribute.name.clone(), value: attribute.value.clone() });
        let custom = row.attributes.iter().filter(|known| !is_reserved(&known.name)).count();
        if custom > CUSTOM_ATTRIBUTES_MAX {
            let message = format!("A container instance can have at most {CUSTOM_ATTRIBUTES_MAX} custom attributes.");
            return Err(Error::attribute_limit_exceeded_exception(message));
        }
        Ok(())
    })
    .await?;
    Ok(api::PutAttributesResponse { attributes: Some(input.attributes) })
}

pub(crate) async fn delete(
    service: &EcsService,
    request: Request<api::DeleteAttributesRequest>,
) -> Result<api::DeleteAttributesResponse, Error> {
    let Request { input, caller, .. } = request;
    check(&input.attributes)?;
    each(service, &Scope::of(&caller), input.cluster.as_deref(), &input.attributes, |row, attribute| {
        if is_reserved(&attribute.name) {
            return Err(invalid(format!(
                "Attribute {} is of the container agent and cannot be deleted.",
                attribute.name
            )));
        }
        row.attributes.retain(|known| known.name != attribute.name);
        Ok(())
    })
    .await?;
    Ok(api::DeleteAttributesResponse { attributes: Some(input.attributes) })
}

pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListAttributesRequest>,
) -> Result<api::ListAttributesResponse, Error> {
    let Request { input, caller, .. } = request;
    // An empty filter is none.
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let input = &api::ListAttributesRequest {
        attribute_name: given(&input.attribute_name),
        attribute_value: given(&input.attribute_value),
        ..input.clone()
    };
    let scope = Scope::of(caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref())?;
    if input.attribute_value.is_some() && input.attribute_name.is_none() {
        return Err(invalid("attributeName must be given with attributeValue."));
    }
    let page = Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results)?;
    let name =
        |attribute: &&InstanceAttribute| input.attribute_name.as_ref().is_none_or(|name| *name == attribute.name);
    let value =
        |attribute: &&InstanceAttribute| input.attribute_value.is_none() || attribute.value == input.attribute_value;
    let instances = container_instance::in_status(&view, &scope, &cluster.name, ContainerInstanceStatus::Active)
        .chain(container_instance::in_status(&view, &scope, &cluster.name, ContainerInstanceStatus::Draining));
    let mut found: Vec<(String, api::Attribute)> = Vec::new();
    for row in instances {
        for attribute in row.attributes.iter().filter(name).filter(value) {
            found.push((format!("{}/{}", row.key(), attribute.name), shown(&row, attribute)));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let (attributes, next_token) =
        page.cut(found.into_iter().filter(|(key, _)| *key > page.after), |(key, _)| key.clone());
    let attributes = attributes.into_iter().map(|(_, attribute)| attribute).collect();
    Ok(api::ListAttributesResponse { attributes: Some(attributes), next_token })
}

fn shown(row: &ContainerInstanceRow, attribute: &InstanceAttribute) -> api::Attribute {
    api::Attribute {
        name: attribute.name.clone(),
        value: attribute.value.clone(),
        target_id: Some(row.arn()),
        target_type: Some(api::TargetType::ContainerInstance),
    }
}

/// Changes the instances that the attributes name, all of them or none.
async fn each(
    service: &EcsService,
    scope: &Scope,
    cluster: Option<&str>,
    attributes: &[api::Attribute],
    change: impl Fn(&mut ContainerInstanceRow, &api::Attribute) -> Result<(), Error>,
) -> Result<(), Error> {
    let update = service.store.update(|tx: &mut Tx<'_>| {
        let cluster = cluster::active(tx, scope, cluster)?;
        for attribute in attributes {
            let target = attribute.target_id.as_deref().ok_or_else(|| invalid("targetId: must not be empty"))?;
            let row = container_instance::find(tx, scope, &cluster.name, target)?;
            let row = row.filter(|row| row.status != ContainerInstanceStatus::Inactive);
            let missing = || Error::target_not_found_exception(format!("The target {target} was not found."));
            let mut row = (*row.ok_or_else(missing)?).clone();
            change(&mut row, attribute)?;
            tx.put(row);
        }
        Ok::<_, Error>(())
    });
    update.await.map_err(error::update)
}

fn check(attributes: &[api::Attribute]) -> Result<(), Error> {
    match attributes.len() {
        0 => Err(invalid("Attributes cannot be empty.")),
        count if count > ATTRIBUTES_MAX => {
            Err(invalid(format!("Attributes cannot have more than {ATTRIBUTES_MAX} elements.")))
        }
        _ => Ok(()),
    }
}

fn check_name(attribute: &api::Attribute) -> Result<(), Error> {
    let name = &attribute.name;
    let legal = |text: &str, more: &str| {
        text.chars().count() <= CHARS_MAX && text.chars().all(|it| it.is_ascii_alphanumeric() || more.contains(it))
    };
    if name.is_empty() || !legal(name, "-_./\\") || is_reserved(name) {
        return Err(invalid(format!(
            "Attribute name '{name}' must have 1 to {CHARS_MAX} letters, digits, and -_./\\, and no prefix of the container agent."
        )));
    }
    let value = attribute.value.as_deref().unwrap_or_default();
    if !legal(value, "-_.@:/\\ ") || value.trim() != value {
        return Err(invalid(format!(
            "The value of attribute '{name}' must have at most {CHARS_MAX} letters, digits, spaces, and -_.@:/\\, and no space at either end."
        )));
    }
    Ok(())
}

/// Names that agents bring.
fn is_reserved(name: &str) -> bool {
    ["ecs.", "com.amazonaws.ecs.", "estiva."].iter().any(|prefix| name.starts_with(prefix))
}
