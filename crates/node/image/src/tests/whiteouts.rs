//! What a layer takes away, seen through an overlay that the kernel mounts.

use nix::mount::{MsFlags, mount, umount};

use super::*;
use crate::image::PullPolicy;
use crate::progress::Silent;

/// Imports an image of these layers, the lowest first, mounts it, and looks.
fn mounted(layers: Vec<Tar>, look: impl FnOnce(&Path) + Send + 'static) {
    in_own_mount_namespace(move || {
        let node = Node::new();
        let layers: Vec<Vec<u8>> = layers.into_iter().map(Tar::end).collect();
        let file = node.file("image.tar", &archive(&oci_layout("x", &layers, gzip)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let image = runtime.block_on(async {
            node.images.import(&file, None, &Silent).await.unwrap();
            node.images.ensure("x", PullPolicy::Default, None, &Silent).await.unwrap()
        });
        let target = node.scratch.path().join("mounted");
        fs::create_dir(&target).unwrap();
        let lower: Vec<&str> = image.layers.iter().map(|layer| layer.to_str().unwrap()).collect();
        let options = format!("lowerdir={}", lower.join(":"));
        mount(Some("overlay"), &target, Some("overlay"), MsFlags::MS_RDONLY, Some(options.as_str())).unwrap();
        look(&target);
        umount(&target).unwrap();
    });
}

fn lower() -> Tar {
    Tar::default()
        .file("kept", "1")
        .file("gone", "1")
        .dir("dir")
        .file("dir/below", "1")
        .dir("other")
        .file("other/x", "1")
}

#[test]
fn a_file_and_a_directory_are_taken_away() {
    mounted(vec![lower(), Tar::default().file(".wh.gone", "").file(".wh.dir", "")], |root| {
        assert_eq!(names_in(root), ["kept", "other"]);
    });
}

#[test]
fn what_is_in_a_directory_is_taken_away() {
    mounted(vec![lower(), Tar::default().dir("dir").file("dir/.wh.below", "").file("dir/new", "")], |root| {
        assert_eq!(names_in(&root.join("dir")), ["new"]);
        assert_eq!(names_in(&root.join("other")), ["x"]);
    });
}

#[test]
fn an_opaque_directory_shows_only_its_own() {
    // The marker may come before what the layer itself puts there, and after it.
    for marker_first in [true, false] {
        let dir = Tar::default().dir("dir");
        let [first, second] = if marker_first { [".wh..wh..opq", "new"] } else { ["new", ".wh..wh..opq"] };
        let upper = dir.file(&format!("dir/{first}"), "").file(&format!("dir/{second}"), "");
        mounted(vec![lower(), upper], |root| {
            assert_eq!(names_in(&root.join("dir")), ["new"]);
            assert_eq!(names_in(root), ["dir", "gone", "kept", "other"]);
        });
    }
}

#[test]
fn what_was_taken_away_may_come_again() {
    let again = Tar::default().file("gone", "3");
    mounted(vec![lower(), Tar::default().file(".wh.gone", ""), again], |root| {
        assert_eq!(fs::read_to_string(root.join("gone")).unwrap(), "3");
    });
}

#[test]
fn the_bookkeeping_of_aufs_is_not_shown() {
    let upper = Tar::default().dir(".wh..wh.plnk").file(".wh..wh.aufs", "").file("new", "");
    mounted(vec![lower(), upper], |root| {
        assert_eq!(names_in(root), ["dir", "gone", "kept", "new", "other"]);
    });
}

#[test]
fn what_the_layer_itself_has_stays_whatever_the_order() {
    let whiteouts = |tar: Tar| tar.file(".wh.gone", "").file(".wh.dir", "");
    let own = |tar: Tar| tar.file("gone", "2").dir("dir").file("dir/new", "2");
    for upper in [own(whiteouts(Tar::default())), whiteouts(own(Tar::default()))] {
        mounted(vec![lower(), upper], |root| {
            assert_eq!(fs::read_to_string(root.join("gone")).unwrap(), "2");
            assert_eq!(names_in(&root.join("dir")), ["new"]);
        });
    }
}
