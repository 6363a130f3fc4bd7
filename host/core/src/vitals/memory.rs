//! How much memory the host has, and how much it may have.
//!
//! Both are read from `/proc` and `/sys/fs/cgroup`, which are in the kernel's memory and never wait for a
//! disk. Where a control group has a limit, whatever is in that group counts against it, and its figures are
//! the ones that matter; otherwise it is what this process and its children hold, against the machine's
//! memory. What cannot be read counts as nothing.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Processes below this one that are counted.
const CHILDREN_MAX: usize = 4096;

/// Where it is read.
#[derive(Debug)]
pub(super) struct Memory {
    proc: PathBuf,
    page_bytes: u64,
    /// The groups that this process is in, the innermost first.
    groups: Vec<Group>,
}

/// A control group's files.
#[derive(Debug)]
struct Group {
    dir: PathBuf,
    files: &'static Files,
}

/// How a version of control groups calls them.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// In the usage are pages of files that the kernel takes back when it needs them.
    inactive: &'static str,
}

const VERSION_2: Files = Files {
    limit: "memory.max",
    usage: "memory.current",
    inactive: "inactive_file",
};
const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
};

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What this process and its children hold.
    pub own_bytes: u64,
    /// What counts against the limit.
    pub used_bytes: u64,
    /// The limit: that of the tightest control group, or the machine's memory.
    pub limit_bytes: u64,
}

impl Memory {
    /// That of this process.
    pub(super) fn of_this_process() -> Memory {
        let page_bytes = rustix::param::page_size() as u64;
        Memory::at(Path::new("/proc"), Path::new("/sys/fs/cgroup"), page_bytes)
    }

    fn at(proc: &Path, groups: &Path, page_bytes: u64) -> Memory {
        let named = text(&proc.join("self/cgroup"));
        let groups = named.lines().flat_map(|line| groups_of(line, groups));
        Memory {
            proc: proc.to_owned(),
            page_bytes,
            groups: groups.collect(),
        }
    }

    /// Reads it.
    pub(super) fn look(&self) -> Reading {
        let machine_bytes = meminfo_total_bytes(&text(&self.proc.join("meminfo")));
        let own_bytes = self.own_bytes();
        let limited = self.groups.iter().filter_map(|group| {
            let limit_bytes = group.limit_bytes()?;
            (machine_bytes == 0 || limit_bytes < machine_bytes).then_some((limit_bytes, group))
        });
        let tightest = limited.min_by_key(|(limit_bytes, _)| *limit_bytes);
        match tightest {
            Some((limit_bytes, group)) => Reading {
                own_bytes,
                used_bytes: group.used_bytes(),
                limit_bytes,
            },
            None => Reading {
                own_bytes,
                used_bytes: own_bytes,
                limit_bytes: machine_bytes,
            },
        }
    }

    /// What this process has in memory, and what its children have besides what they share with it.
    fn own_bytes(&self) -> u64 {
        let own = self.pages("self").map_or(0, |(all, _)| all);
        let children = self.children().into_iter();
        let theirs = children.filter_map(|child| {
            let (all, shared) = self.pages(&child)?;
            Some(all.saturating_sub(shared))
        });
        theirs
            .fold(own, u64::saturating_add)
            .saturating_mul(self.page_bytes)
    }

    /// A process's pages in memory, and those of them that are of files or shared.
    fn pages(&self, process: &str) -> Option<(u64, u64)> {
        let text = text(&self.proc.join(process).join("statm"));
        let mut fields = text.split_whitespace().skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    }

    /// The processes below this one.
    fn children(&self) -> Vec<String> {
        let threads = std::fs::read_dir(self.proc.join("self/task"));
        let threads = threads.into_iter().flatten().flatten();
        let mut unread: VecDeque<PathBuf> = threads.map(|thread| thread.path()).collect();
        let mut children = Vec::new();
        while let Some(thread) = unread.pop_front() {
            for child in text(&thread.join("children")).split_whitespace() {
                if children.len() >= CHILDREN_MAX {
                    return children;
                }
                unread.push_back(self.proc.join(child).join("task").join(child));
                children.push(child.to_owned());
            }
        }
        children
    }
}

impl Group {
    fn limit_bytes(&self) -> Option<u64> {
        text(&self.dir.join(self.files.limit)).trim().parse().ok()
    }

    fn used_bytes(&self) -> u64 {
        let usage: Option<u64> = text(&self.dir.join(self.files.usage)).trim().parse().ok();
        let stat = text(&self.dir.join("memory.stat"));
        let inactive = stat.lines().find_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            (name == self.files.inactive).then(|| bytes.trim().parse::<u64>().ok())?
        });
        usage
            .unwrap_or(0)
            .saturating_sub(inactive.unwrap_or_default())
    }
}

/// The groups that a line of `/proc/self/cgroup` names, up to the root. In a container the root may be the
/// group itself, and what the line says is not found below it.
fn groups_of(line: &str, root: &Path) -> Vec<Group> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (root, files) = match controllers {
        "" => (root.to_owned(), &VERSION_2),
        some if some.split(',').any(|one| one == "memory") => (root.join("memory"), &VERSION_1),
        _ => return Vec::new(),
    };
    let inner = root.join(path.trim_start_matches('/'));
    let dirs = inner.ancestors().take_while(|dir| dir.starts_with(&root));
    dirs.map(|dir| Group {
        dir: dir.to_owned(),
        files,
    })
    .collect()
}

fn meminfo_total_bytes(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// A file's text; none of it if it cannot be read.
fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of 1,000 MiB on which this process is in a group, with its files.
    fn machine(group: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Memory) {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("proc/meminfo", "MemTotal:   1024000 kB\nMemFree: 1 kB\n");
        put("proc/self/statm", "900 100 30 1 0 5 0\n");
        put("proc/self/cgroup", group);
        put("proc/self/task/1/children", "7 8 ");
        put("proc/7/statm", "900 50 20 1 0 5 0\n");
        put("proc/7/task/7/children", "9 ");
        put("proc/9/statm", "900 12 2 1 0 5 0\n");
        for (path, text) in files {
            put(&format!("cgroup/{path}"), text);
        }
        let at = |path| root.path().join(path);
        let memory = Memory::at(&at("proc"), &at("cgroup"), 4096);
        (root, memory)
    }

    /// Itself, and what two children have of their own; the third has gone.
    const OWN: u64 = (100 + 30 + 10) * 4096;

    #[test]
    fn without_a_limit_it_is_the_hosts_own_against_the_machines() {
        let alone = Reading {
            own_bytes: OWN,
            used_bytes: OWN,
            limit_bytes: 1000 << 20,
        };
        let unlimited = [("a/memory.max", "max\n"), ("a/memory.current", "7\n")];
        let beyond = [
            ("a/memory.max", "99999999999\n"),
            ("a/memory.current", "7\n"),
        ];
        for files in [&unlimited, &beyond] {
            let (_root, memory) = machine("0::/a\n", files);
            assert_eq!(memory.look(), alone);
        }
        let (_root, memory) = machine("", &[]);
        assert_eq!(memory.look(), alone);
    }

    #[test]
    fn the_tightest_group_counts_without_pages_that_can_be_taken_back() {
        let files = [
            ("a/b/memory.max", "max\n"),
            ("a/b/memory.current", "50\n"),
            ("a/memory.max", "1000\n"),
            ("a/memory.current", "700\n"),
            ("a/memory.stat", "anon 5\ninactive_file 100\n"),
            ("memory.max", "2000\n"),
        ];
        let (_root, memory) = machine("0::/a/b\n", &files);
        let of_group = Reading {
            own_bytes: OWN,
            used_bytes: 600,
            limit_bytes: 1000,
        };
        assert_eq!(memory.look(), of_group);
        let files = [
            ("memory/a/memory.limit_in_bytes", "1000\n"),
            ("memory/a/memory.usage_in_bytes", "700\n"),
            (
                "memory/a/memory.stat",
                "inactive_file 1\ntotal_inactive_file 100\n",
            ),
        ];
        let (_root, memory) = machine("3:cpu:/x\n4:memory:/a\n", &files);
        assert_eq!(memory.look(), of_group);
        // In a container the root is the group.
        let files = [("memory.max", "1000\n"), ("memory.current", "600\n")];
        let (_root, memory) = machine("0::/outside/of/it\n", &files);
        assert_eq!(memory.look(), of_group);
    }

    #[test]
    fn this_process_has_memory() {
        let reading = Memory::of_this_process().look();
        assert!(reading.own_bytes > 100_000 && reading.limit_bytes > reading.own_bytes);
    }
}
