//! `estiva image`: the node's images.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use estiva_image::{ImageSummary, Images};

use crate::installation::InstallationOptions;
use crate::output;
use crate::progress::Bar;

/// Import, list and remove the node's images
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
                println!("{}  {}", image.reference, image.digest);
            }
            Ok(())
        }
        Command::List => {
            let found = images.list()?;
            if options.json { output::json(&found) } else { table(&found) }
        }
        Command::Remove { reference } => {
            let removed = runtime.block_on(images.remove(&reference))?;
            if options.json {
                return output::json(&removed);
            }
            println!("removed {reference}, {} freed", output::bytes(removed.freed_bytes));
            Ok(())
        }
    }
}

fn table(images: &[ImageSummary]) -> Result<()> {
    let short = |digest: &str| digest.chars().take("sha256:".len() + 12).collect::<String>();
    let row =
        |image: &ImageSummary| vec![image.reference.clone(), short(&image.digest), output::bytes(image.size_bytes)];
    output::table(&["NAME", "DIGEST", "SIZE"], &images.iter().map(row).collect::<Vec<_>>())
}
