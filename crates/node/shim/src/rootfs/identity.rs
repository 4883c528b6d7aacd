//! Who a container runs as: `user[:group]` of an image, resolved with the files of that image.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use pathrs::flags::OpenFlags;

use crate::spec::User;

/// An image's `/etc/passwd` is a stranger's: read no more than this.
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
        User::Named(text) => {
            let passwd = lines(root, "/etc/passwd")?;
            let groups = lines(root, "/etc/group")?;
            resolve(text, &passwd, &groups)
        }
    }
}

fn resolve(text: &str, passwd: &[String], groups: &[String]) -> Result<Identity, IdentityError> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let entry = passwd.iter().filter_map(|line| Entry::parse(line)).find(|entry| {
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
    let additional_gids = groups.iter().filter_map(|line| Entry::parse(line)).filter(|entry| {
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

fn find_group(group: &str, groups: &[String]) -> Result<u32, IdentityError> {
    let named = groups.iter().filter_map(|line| Entry::parse(line)).find(|entry| entry.name == group);
    let id = named.map(|entry| entry.id).or_else(|| group.parse().ok());
    id.ok_or_else(|| IdentityError::NoGroup(group.to_owned()))
}

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
        Some(Self { name, id: id.parse().ok()?, rest: fields.collect() })
    }
}

/// The lines of a file inside the root; none when it is absent. Links are followed inside the root only.
fn lines(root: &Path, path: &'static str) -> Result<Vec<String>, IdentityError> {
    let failed = |source| IdentityError::File { path, source };
    let root = pathrs::Root::open(root).map_err(|error| failed(io::Error::other(error)))?;
    let Ok(handle) = root.resolve(path) else { return Ok(Vec::new()) };
    // Never blocks on a FIFO that an image has put there.
    let flags = OpenFlags::O_RDONLY | OpenFlags::O_CLOEXEC | OpenFlags::O_NONBLOCK;
    let file: File = handle.reopen(flags).map_err(|error| failed(io::Error::other(error)))?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    }
    let mut lines = Vec::new();
    for line in BufReader::new(file.take(FILE_BYTES_MAX)).split(b'\n') {
        lines.push(String::from_utf8_lossy(&line.map_err(failed)?).into_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let passwd = ["root:x:0:0:root:/root:/bin/sh", "web:x:33:34::/:", "broken"].map(str::to_owned);
        let groups = ["root:x:0:", "web:x:34:", "log:x:40:web,other", "tty:x:5:other"].map(str::to_owned);
        let identity = resolve(text, &passwd, &groups).map_err(|error| error.to_string())?;
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
        assert!(lines(root.path(), "/etc/passwd").unwrap().is_empty());
    }
}
