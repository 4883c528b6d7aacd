//! Throttling: token buckets (Amazon ECS Developer Guide, "Request throttling"). A call takes a token; a bucket fills at a
//! constant rate up to its size.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use estiva_model::Caller;
use estiva_schema::BucketOf;

/// The buckets of all accounts. An account without calls for as long as a bucket takes to fill costs nothing.
#[derive(Debug)]
pub struct Throttle {
    bucket_of: BucketOf,
    levels: Mutex<HashMap<Key, Level>>,
}

type Key = (&'static str, String);

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Instant,
}

impl Throttle {
    /// Full buckets for everybody.
    pub fn new(bucket_of: BucketOf) -> Self {
        Self { bucket_of, levels: Mutex::default() }
    }

    /// Takes a token for the caller's action; false if there is none.
    pub fn take(&self, caller: &Caller, action: &str, now: Instant) -> bool {
        let Some(bucket) = (self.bucket_of)(action) else { return true };
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (bucket.name, format!("{}/{}", caller.account, caller.region));
        let level = levels.entry(key).or_insert(Level { tokens: f64::from(bucket.burst), at: now });
        let gained = now.saturating_duration_since(level.at).as_secs_f64() * f64::from(bucket.per_second);
        level.tokens = (level.tokens + gained).min(f64::from(bucket.burst));
        level.at = now;
        let is_there = level.tokens >= 1.0;
        if is_there {
            level.tokens -= 1.0;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use estiva_model::{AccountId, Principal, Region};
    use estiva_schema::Bucket;

    use super::*;

    fn bucket_of(action: &str) -> Option<Bucket> {
        action.starts_with("ecs:").then_some(Bucket { name: "all", burst: 3, per_second: 2 })
    }

    fn caller(account: &str) -> Caller {
        Caller {
            account: AccountId::parse(account).unwrap(),
            region: Region::default(),
            principal: Principal::Root,
            access_key_id: String::new(),
        }
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (throttle, start) = (Throttle::new(bucket_of), Instant::now());
        let ada = caller("111111111111");
        let taken = |seconds: f64| {
            (0..5).filter(|_| throttle.take(&ada, "ecs:RunTask", start + Duration::from_secs_f64(seconds))).count()
        };
        assert_eq!([taken(0.0), taken(0.5), taken(0.9), taken(1.0), taken(60.0)], [3, 1, 0, 1, 3]);
        assert!(throttle.take(&caller("222222222222"), "ecs:StopTask", start), "another account has its own");
        assert!((0..99).all(|_| throttle.take(&ada, "logs:PutLogEvents", start)), "what has no bucket is free");
    }
}
