//! `-u USER[:GROUP]`, by name or number. Names are looked up in /etc/passwd and /etc/group, not over
//! the name service, whose libraries a static program cannot load.

use super::job::User;
use crate::error::Error;

/// Finds the numbers.
pub(crate) fn resolve(text: &str) -> Result<User, Error> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    find(text, &read("/etc/passwd"), &read("/etc/group"))
}

fn find(text: &str, passwd: &str, group: &str) -> Result<User, Error> {
    let wrong = |expected: &str| Error::Value { what: "user", text: text.into(), expected: expected.into() };
    let (user, explicit_group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
    let number: Option<u32> = user.parse().ok();
    let entry = lines(passwd).find(|f| f.first() == Some(&user) || (number.is_some() && field(f, 2) == number));
    let uid = number.or_else(|| entry.as_ref().and_then(|f| field(f, 2)));
    let uid = uid.ok_or_else(|| wrong("/etc/passwd has no such user; use a number"))?;
    let gid = match explicit_group {
        // As Docker: a user without an entry is in root's group.
        None => entry.as_ref().and_then(|f| field(f, 3)).unwrap_or(0),
        Some(name) => name
            .parse()
            .ok()
            .or_else(|| lines(group).find(|f| f.first() == Some(&name)).and_then(|f| field(&f, 2)))
            .ok_or_else(|| wrong("/etc/group has no such group; use a number"))?,
    };
    let name = entry.as_ref().and_then(|f| f.first().copied());
    let member = |f: &Vec<&str>| name.is_some_and(|name| f.get(3).is_some_and(|m| m.split(',').any(|m| m == name)));
    let groups = match explicit_group {
        Some(_) => vec![gid],
        None => lines(group).filter(member).filter_map(|f| field(&f, 2)).chain([gid]).collect(),
    };
    Ok(User { uid, gid, groups })
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect())
}

fn field(fields: &[&str], index: usize) -> Option<u32> {
    fields.get(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlog:x:4:syslog,web\n";

    fn ids(text: &str) -> Option<(u32, u32, Vec<u32>)> {
        find(text, PASSWD, GROUP).ok().map(|u| (u.uid, u.gid, u.groups))
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(ids("web"), Some((33, 34, vec![4, 34])));
        assert_eq!(ids("33"), Some((33, 34, vec![4, 34])));
        assert_eq!(ids("web:log"), Some((33, 4, vec![4])));
        assert_eq!(ids("1000:1001"), Some((1000, 1001, vec![1001])));
        assert_eq!(ids("1000"), Some((1000, 0, vec![0])));
        assert_eq!(ids("nobody-here"), None);
        assert_eq!(ids("web:nogroup-here"), None);
    }
}
