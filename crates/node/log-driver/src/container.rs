//! Who writes.

use std::collections::BTreeMap;
use std::fmt;

/// Docker's short form of an identifier, in characters.
const SHORT_ID_CHARACTERS: usize = 12;

/// The container whose output it is.
#[derive(Clone, Default)]
pub struct ContainerInfo {
    /// The runtime's identifier, 64 hexadecimal digits.
    pub id: String,
    /// The container's name. Docker's begin with a slash: `fluentd` passes it on, the others leave it out.
    pub name: String,
    /// The image, as the container was asked for.
    pub image_name: String,
    /// The image's identifier, `sha256:` and 64 hexadecimal digits.
    pub image_id: String,
    /// The program, and then its arguments.
    pub command: Vec<String>,
    /// When the container was made, in nanoseconds since 1970.
    pub created_ns: u64,
    /// The container's labels.
    pub labels: BTreeMap<String, String>,
    /// The container's environment, `NAME=value`. May have secrets in it.
    pub env: Vec<String>,
    /// The machine's host name.
    pub host_name: String,
    /// What `{{.DaemonName}}` stands for; `docker` with Docker.
    pub daemon_name: String,
}

impl ContainerInfo {
    pub(crate) fn short_id(&self) -> &str {
        short(&self.id)
    }

    pub(crate) fn short_image_id(&self) -> &str {
        short(&self.image_id)
    }

    /// Without Docker's slash.
    pub(crate) fn plain_name(&self) -> &str {
        self.name.strip_prefix('/').unwrap_or(&self.name)
    }
}

fn short(id: &str) -> &str {
    let end = id.char_indices().nth(SHORT_ID_CHARACTERS).map_or(id.len(), |(index, _)| index);
    &id[..end]
}

/// Without command, labels and environment.
impl fmt::Debug for ContainerInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, image_name, .. } = self;
        let mut debug = formatter.debug_struct("ContainerInfo");
        debug.field("id", id).field("name", name).field("image_name", image_name).finish_non_exhaustive()
    }
}
