//! `estiva image`: the node's images.

use std::path::PathBuf;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use estiva_api_estiva::types::{DescribeImagePullRequest, NodePull, StartImagePullRequest};
use estiva_api_estiva::{DescribeImagePull, StartImagePull};
use estiva_image::{ImageSummary, Images};

use crate::installation::InstallationOptions;
use crate::output;
use crate::owner;
use crate::progress::Bar;

/// Between two looks at how far a pull is: the API has no way to wait for it.
const PULL_POLL: Duration = Duration::from_millis(200);

/// Import, pull, list and remove the node's images
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Take an image from a file: an OCI layout, a docker-archive, or a root file system as tar
    Import {
        /// The file, or an OCI layout's directory
        file: PathBuf,
        /// The image's name; needed for a root file system, else it takes the place of the one inside
        #[arg(long, value_name = "REF")]
        name: Option<String>,
    },
    /// Pull an image onto nodes, so that tasks find it there
    Pull {
        /// Its name, as in a task definition
        reference: String,
        /// The container instances, by id or ARN; without it, all of the cluster
        #[arg(long, value_name = "ID", num_args = 1.., value_delimiter = ',')]
        nodes: Vec<String>,
        /// The nodes' cluster
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// List the images
    List,
    /// Remove an image that no task uses
    Remove {
        /// Its name or digest
        reference: String,
    },
}

/// Does what was asked.
pub fn run(installation: &InstallationOptions, options: Options) -> Result<()> {
    if let Command::Pull { reference, nodes, cluster } = options.command {
        return pull(installation, &reference, nodes, cluster, options.json);
    }
    let images = Images::open(&installation.open()?.image_dir()?)?;
    let runtime = tokio::runtime::Runtime::new()?;
    match options.command {
        Command::Import { file, name } => {
            let bar = Bar::default();
            let imported = runtime.block_on(images.import(&file, name.as_deref(), &bar));
            drop(bar);
            let imported = imported?;
            if options.json {
                return output::json(&imported);
            }
            for image in imported {
                output::line(&format!("{}  {}", image.reference, image.digest))?;
            }
            Ok(())
        }
        // It needs the control plane, not the node's files.
        Command::Pull { .. } => Ok(()),
        Command::List => {
            let found = images.list()?;
            if options.json { output::json(&found) } else { table(&found) }
        }
        Command::Remove { reference } => {
            let removed = runtime.block_on(images.remove(&reference))?;
            if options.json {
                return output::json(&removed);
            }
            output::line(&format!("removed {reference}, {} freed", output::bytes(removed.freed_bytes)))
        }
    }
}

/// Tells the control plane, and waits until every node has the image or says why not.
fn pull(
    installation: &InstallationOptions,
    image: &str,
    nodes: Vec<String>,
    cluster: Option<String>,
    json: bool,
) -> Result<()> {
    let client = owner::client(installation)?;
    let container_instances = (!nodes.is_empty()).then_some(nodes);
    let request = StartImagePullRequest { cluster, image: image.to_owned(), container_instances };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pull = runtime.block_on(async {
        let answer = client.call::<StartImagePull>(&request).await?;
        let mut pull = answer.image_pull.context("the answer has no pull")?;
        while pull.nodes.iter().flatten().any(|node| node.status == "PENDING") {
            tokio::time::sleep(PULL_POLL).await;
            let answer = client.call::<DescribeImagePull>(&DescribeImagePullRequest { id: pull.id.clone() }).await?;
            pull = answer.image_pull.context("the answer has no pull")?;
        }
        anyhow::Ok(pull)
    })?;
    let failed = pull.nodes.iter().flatten().filter(|node| node.status == "FAILED").count();
    if json {
        output::json(&estiva_schema::json::to_value(&pull))?;
    } else {
        let row = |node: &NodePull| {
            let id = node.container_instance_arn.rsplit('/').next().unwrap_or_default().to_owned();
            let detail = node.reason.clone().or_else(|| node.image_digest.clone());
            vec![id, node.status.clone(), detail.unwrap_or_default()]
        };
        output::table(&["NODE", "STATUS", "DIGEST"], &pull.nodes.iter().flatten().map(row).collect::<Vec<_>>())?;
    }
    if failed > 0 {
        bail!("{failed} nodes do not have {image}");
    }
    Ok(())
}

fn table(images: &[ImageSummary]) -> Result<()> {
    let short = |digest: &str| digest.chars().take("sha256:".len() + 12).collect::<String>();
    let row =
        |image: &ImageSummary| vec![image.reference.clone(), short(&image.digest), output::bytes(image.size_bytes)];
    output::table(&["NAME", "DIGEST", "SIZE"], &images.iter().map(row).collect::<Vec<_>>())
}
