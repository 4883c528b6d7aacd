//! The operations on account settings.

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::{Arn, Caller, Principal};
use estiva_schema::Request;

use super::setting::{self, effective, root};
use super::table::{AccountSettingRow, key};
use crate::EcsService;
use crate::error::{self, invalid};
use crate::page::Page;
use crate::scope::Scope;

pub(crate) async fn put(
    service: &EcsService,
    request: Request<api::PutAccountSettingRequest>,
) -> Result<api::PutAccountSettingResponse, Error> {
    let Request { input, caller, .. } = request;
    let principal = principal(&caller, input.principal_arn.as_deref())?;
    let setting = set(service, &caller, &principal, input.name, &input.value).await?;
    Ok(api::PutAccountSettingResponse { setting: Some(setting) })
}

pub(crate) async fn put_default(
    service: &EcsService,
    request: Request<api::PutAccountSettingDefaultRequest>,
) -> Result<api::PutAccountSettingDefaultResponse, Error> {
    let Request { input, caller, .. } = request;
    let setting = set(service, &caller, &root(&Scope::of(&caller)), input.name, &input.value).await?;
    Ok(api::PutAccountSettingDefaultResponse { setting: Some(setting) })
}

pub(crate) async fn delete(
    service: &EcsService,
    request: Request<api::DeleteAccountSettingRequest>,
) -> Result<api::DeleteAccountSettingResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let principal = principal(&caller, input.principal_arn.as_deref())?;
    let update = service.store.update(|tx| {
        tx.delete::<AccountSettingRow>(&key(&scope, &principal, input.name.as_str()));
        Ok::<_, Error>(effective(tx, &scope, &principal, input.name))
    });
    let value = update.await.map_err(error::update)?;
    Ok(api::DeleteAccountSettingResponse { setting: Some(shown(input.name, value, &principal)) })
}

pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListAccountSettingsRequest>,
) -> Result<api::ListAccountSettingsResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let principal = principal(caller, input.principal_arn.as_deref())?;
    if input.value.is_some() && input.name.is_none() {
        return Err(invalid("name must be given with value."));
    }
    let view = service.store.view();
    let page = Page::new(service.tokens.of(request), input.next_token.as_deref(), input.max_results)?;
    let is_effective = input.effective_settings == Some(true);
    let value = |name: api::SettingName| {
        if is_effective {
            return Some(effective(&view, &scope, &principal, name));
        }
        view.get::<AccountSettingRow>(&key(&scope, &principal, name.as_str())).map(|row| row.value.clone())
    };
    let names = setting::ALL.into_iter().filter(|name| name.as_str() > page.after.as_str());
    let names = names.filter(|name| input.name.is_none_or(|wanted| wanted == *name));
    let found = names.filter_map(|name| Some(shown(name, value(name)?, &principal)));
    let found = found.filter(|it| input.value.is_none() || it.value == input.value);
    let (settings, next_token) =
        page.cut(found, |setting| setting.name.map(api::SettingName::as_str).unwrap_or_default().to_owned());
    Ok(api::ListAccountSettingsResponse { settings: Some(settings), next_token })
}

/// The principal that a caller speaks of: itself, or, for the account's root user, any of the account.
fn principal(caller: &Caller, named: Option<&str>) -> Result<String, Error> {
    let Some(named) = named.filter(|named| !named.is_empty()) else { return Ok(caller.arn()) };
    let is_principal = named.parse::<Arn>().is_ok_and(|arn| {
        let kinds = ["user/", "role/"];
        let fits = arn.resource == "root" || kinds.iter().any(|kind| arn.resource.starts_with(kind));
        arn.service == "iam" && arn.account == caller.account.as_str() && fits
    });
    if !is_principal {
        return Err(invalid(format!("Invalid principalArn: {named}")));
    }
    if named != caller.arn() && caller.principal != Principal::Root {
        return Err(Error::access_denied_exception("Only the root user changes the settings of another principal."));
    }
    Ok(named.to_owned())
}

async fn set(
    service: &EcsService,
    caller: &Caller,
    principal: &str,
    name: api::SettingName,
    value: &str,
) -> Result<api::Setting, Error> {
    setting::check(name, value)?;
    let row = AccountSettingRow {
        scope: Scope::of(caller),
        name: name.as_str().to_owned(),
        principal: principal.to_owned(),
        value: value.to_owned(),
    };
    let update = service.store.update(|tx| {
        tx.put(row);
        Ok::<_, Error>(())
    });
    update.await.map_err(error::update)?;
    Ok(shown(name, value.to_owned(), principal))
}

fn shown(name: api::SettingName, value: String, principal: &str) -> api::Setting {
    let kind = if setting::is_managed(name) { api::SettingType::AwsManaged } else { api::SettingType::User };
    api::Setting { name: Some(name), value: Some(value), principal_arn: Some(principal.to_owned()), r#type: Some(kind) }
}
