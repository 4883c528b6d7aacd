//! Waiting for the disk without holding up the runtime: a disk that hangs makes its own task slow, and no session silent.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does what blocks, while another thread takes over what this one has of the runtime.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let has_others = Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    if has_others { tokio::task::block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use super::*;

    /// Never waited for to its end unless the test fails.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_waits_for_the_disk_holds_up_nobody_else() {
        let (free, hangs) = channel();
        let hanging = tokio::spawn(async move { aside(|| hangs.recv_timeout(PATIENCE)) });
        // Of the one worker, which the first has.
        let other = tokio::spawn(async move { free.send(()) });
        assert_eq!(hanging.await.unwrap(), Ok::<(), RecvTimeoutError>(()));
        other.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn where_nobody_could_take_over_it_is_just_done() {
        assert_eq!(aside(|| 7), 7);
    }
}
