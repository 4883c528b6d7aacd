//! Removes images that no task uses, from time to time.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use estiva_image::{CleanUpPolicy, FreeSpace};
use tracing::{info, warn};

use crate::engine::Host;
use crate::options::Options;

/// With less free space than this on the images' file system, age does not count any more.
const LOW_SPACE: FreeSpace = FreeSpace::Percent(5);

/// Removes what is due, for as long as it is polled.
pub(crate) async fn run(options: &Options, host: &Host) -> Infallible {
    if options.image_cleanup_interval == Duration::ZERO {
        return std::future::pending().await;
    }
    let minimum_age = options.image_minimum_cleanup_age;
    let policy = CleanUpPolicy { minimum_age, low_space: Some(LOW_SPACE), ..CleanUpPolicy::default() };
    loop {
        tokio::time::sleep(options.image_cleanup_interval).await;
        match host.images.clean_up(&policy, SystemTime::now()).await {
            Ok(removed) if removed.images.is_empty() => {}
            Ok(removed) => {
                info!(
                    images = removed.images.join(" "),
                    freed_bytes = removed.freed_bytes,
                    "images that nobody used are gone"
                );
            }
            Err(error) => warn!(error = &error as &dyn std::error::Error, "images cannot be cleaned up"),
        }
    }
}
