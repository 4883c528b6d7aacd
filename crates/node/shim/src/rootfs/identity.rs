//! Who a container runs as: `user[:group]` of an image, resolved with the files of that image.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

use pathrs::flags::OpenFlags;

use crate::spec::User;

/// An image's `/etc/passwd` is a stranger's, and the shim has one thread for all of a task: it reads no more than this.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Numeric ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    /// The home directory, `/` for a user that is only a number.
    pub home: String,
}

/// Why a user could not be resolved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// The file exists but cannot be read.
    #[error("cannot read {path} of the image")]
    File { path: &'static str, source: io::Error },
}

/// Resolves `user` within `root`. Rules as Docker's: a number need not be in the files; the group defaults to the
/// user's, or 0; supplementary groups are those that list the user, unless a group was given.
pub(crate) fn identify(root: &Path, user: &User) -> Result<Identity, IdentityError> {
    match user {
        User::Ids { uid, gid, additional_gids } => {
            Ok(Identity { uid: *uid, gid: *gid, additional_gids: additional_gids.clone(), home: "/".to_owned() })
        }
        User::Named(name) => resolve(name, &text(root, "/etc/passwd")?, &text(root, "/etc/group")?),
    }
}

fn resolve(text: &str, passwd: &str, groups: &str) -> Result<Identity, IdentityError> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let entry = passwd.lines().filter_map(Entry::parse).find(|entry| {
        // A name that looks like a number is a name first, as useradd allows it.
        entry.name == user || number == Some(entry.id)
    });
    let uid = entry.as_ref().map(|entry| entry.id).or(number);
    let uid = uid.ok_or_else(|| IdentityError::NoUser(user.to_owned()))?;
    let home = entry.as_ref().and_then(|entry| entry.rest.get(2)).filter(|home| home.starts_with('/'));
    let home = home.map_or("/", |home| *home).to_owned();
    if let Some(group) = group.filter(|group| !group.is_empty()) {
        let gid = find_group(group, groups)?;
        return Ok(Identity { uid, gid, additional_gids: vec![gid], home });
    }
    let gid = entry.as_ref().and_then(|entry| entry.rest.first()?.parse().ok()).unwrap_or(0);
    let name = entry.map(|entry| entry.name);
    let additional_gids = groups.lines().filter_map(Entry::parse).filter(|entry| {
        let members = entry.rest.first().copied().unwrap_or_default();
        name.is_some_and(|name| members.split(',').any(|member| member == name))
    });
    // The primary group is listed too, lest a process drops it and passes where a group is denied (CVE-2022-36109).
    Ok(Identity {
        uid,
        gid,
        additional_gids: std::iter::once(gid).chain(additional_gids.map(|entry| entry.id)).collect(),
        home,
    })
}

fn find_group(group: &str, groups: &str) -> Result<u32, IdentityError> {
    let named = groups.lines().filter_map(Entry::parse).find(|entry| entry.name == group);
    let id = named.map(|entry| entry.id).or_else(|| group.parse().ok());
    id.ok_or_else(|| IdentityError::NoGroup(group.to_owned()))
}

/// As many fields of the rest as are looked at: a line may be one of colons.
const REST_MAX: usize = 3;

/// `name:password:id:rest…`, the common shape of both files.
struct Entry<'a> {
    name: &'a str,
    id: u32,
    rest: Vec<&'a str>,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let (name, _password, id) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { name, id: id.parse().ok()?, rest: fields.take(REST_MAX).collect() })
    }
}

/// A file inside the root; empty when it is absent. Links are followed inside the root only. What is no regular file, or
/// is too large to be what it is called, is refused: a part of it would give a user other groups than the whole.
fn text(root: &Path, path: &'static str) -> Result<String, IdentityError> {
    let failed = |source| IdentityError::File { path, source };
    let root = pathrs::Root::open(root).map_err(|error| failed(io::Error::other(error)))?;
    let Ok(handle) = root.resolve(path) else { return Ok(String::new()) };
    // Looked at before it is opened: to open a device does something.
    let found = handle.try_clone().map_err(|error| failed(io::Error::other(error)))?;
    let found = File::from(OwnedFd::from(found));
    if !found.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    let flags = OpenFlags::O_RDONLY | OpenFlags::O_CLOEXEC | OpenFlags::O_NONBLOCK;
    let file: File = handle.reopen(flags).map_err(|error| failed(io::Error::other(error)))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes"))));
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:\nbroken\n";
        let groups = "root:x:0:\nweb:x:34:\nlog:x:40:web,other\ntty:x:5:other";
        let identity = resolve(text, passwd, groups).map_err(|error| error.to_string())?;
        Ok((identity.uid, identity.gid, identity.additional_gids))
    }

    #[test]
    fn resolves_as_docker_does() {
        assert_eq!(ids(""), Ok((0, 0, vec![0])));
        assert_eq!(ids("web"), Ok((33, 34, vec![34, 40])));
        assert_eq!(ids("33"), Ok((33, 34, vec![34, 40])));
        assert_eq!(ids("1000"), Ok((1000, 0, vec![0])));
        assert_eq!(ids("web:tty"), Ok((33, 5, vec![5])));
        assert_eq!(ids("1000:1001"), Ok((1000, 1001, vec![1001])));
        assert_eq!(ids(":log"), Ok((0, 40, vec![40])));
        assert!(ids("nobody").unwrap_err().contains("user nobody"));
        assert!(ids("web:none").unwrap_err().contains("group none"));
    }

    #[test]
    fn an_image_cannot_point_outside_of_its_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/proc/self/environ", root.path().join("etc/passwd")).unwrap();
        assert_eq!(text(root.path(), "/etc/passwd").unwrap(), "");
    }

    #[test]
    fn what_is_no_plain_file_of_its_size_is_refused_at_once() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let (passwd, group) = (etc.join("passwd"), etc.join("group"));
        let refusal = || {
            let error = identify(root.path(), &User::Named("web".to_owned())).unwrap_err();
            std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
        };
        let no_file = "it is no regular file";
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        assert_eq!(refusal(), no_file);
        std::fs::rename(&passwd, etc.join("fifo")).unwrap();
        std::os::unix::fs::symlink("fifo", &passwd).unwrap();
        assert_eq!(refusal(), no_file, "by way of a link");
        std::fs::remove_file(&passwd).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(&passwd).unwrap();
        assert_eq!(refusal(), no_file);
        drop(socket);
        std::fs::remove_file(&passwd).unwrap();
        std::fs::create_dir(&passwd).unwrap();
        assert_eq!(refusal(), no_file);
        std::fs::remove_dir(&passwd).unwrap();
        // Sparse: it costs an image nothing.
        File::create(&passwd).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(refusal(), format!("it has more than {FILE_BYTES_MAX} bytes"));
        std::fs::write(&passwd, "web:x:33:34::/:\n").unwrap();
        std::fs::rename(etc.join("fifo"), &group).unwrap();
        assert_eq!(refusal(), no_file, "the groups' file too");
        std::fs::write(&passwd, ":".repeat(1 << 22)).unwrap();
        std::fs::remove_file(&group).unwrap();
        assert!(matches!(identify(root.path(), &User::Named("web".to_owned())), Err(IdentityError::NoUser(_))));
    }
}
