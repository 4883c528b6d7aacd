//! STS: who the caller is.

use async_trait::async_trait;
use estiva_api_sts::types::{GetCallerIdentityRequest, GetCallerIdentityResponse};
use estiva_api_sts::{Error, Sts};
use estiva_model::Principal;
use estiva_schema::Request;

/// STS, which keeps nothing.
pub struct StsService;

#[async_trait]
impl Sts for StsService {
    async fn get_caller_identity(
        &self,
        request: Request<GetCallerIdentityRequest>,
    ) -> Result<GetCallerIdentityResponse, Error> {
        let caller = request.caller;
        let user_id = match &caller.principal {
            Principal::Root => caller.account.to_string(),
            Principal::AssumedRole { session, .. } => format!("{}:{session}", caller.access_key_id),
        };
        Ok(GetCallerIdentityResponse {
            user_id: Some(user_id),
            account: Some(caller.account.to_string()),
            arn: Some(caller.arn()),
        })
    }
}
