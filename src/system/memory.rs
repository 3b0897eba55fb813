//! How much memory this process can have, and how much it uses.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The origin of a memory limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The control group of this process, or one above it.
    Cgroup,
    /// The machine, which has no more memory.
    Machine,
}

/// The memory that this process can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The limit in bytes.
    pub bytes: u64,
    /// What sets the limit.
    pub source: Source,
}

/// Returns the smaller of what the machine has and what the control groups of this
/// process allow (`memory.max` in version 2, `memory.limit_in_bytes` in version 1).
///
/// # Errors
/// Fails if `/proc/meminfo` cannot be read.
pub fn limit() -> io::Result<Limit> {
    limit_under(Path::new("/"))
}

/// Returns the bytes of memory that are resident now.
///
/// # Errors
/// Fails if `/proc/self/status` cannot be read.
pub fn resident() -> io::Result<u64> {
    field_kib(&fs::read_to_string("/proc/self/status")?, "VmRSS")
}

/// Does the same as [`limit`], with `/proc` and `/sys` under `root`.
fn limit_under(root: &Path) -> io::Result<Limit> {
    let machine = match fs::read_to_string(root.join("proc/meminfo")) {
        Ok(text) => field_kib(&text, "MemTotal")?,
        // In a sandbox, `/proc` may contain only the processes (ProcSubset=pid).
        Err(e) if e.kind() == io::ErrorKind::NotFound => nix::sys::sysinfo::sysinfo()?.ram_total(),
        Err(e) => return Err(e),
    };
    let cgroup = fs::read_to_string(root.join("proc/self/cgroup"))
        .ok()
        .and_then(|groups| cgroup_limit(root, &groups));
    Ok(match cgroup {
        // Version 1 expresses "no limit" with a number that is larger than the memory of
        // any machine.
        Some(bytes) if bytes < machine => Limit {
            bytes,
            source: Source::Cgroup,
        },
        _ => Limit {
            bytes: machine,
            source: Source::Machine,
        },
    })
}

/// Returns a field such as `MemTotal:  123 kB`, in bytes.
fn field_kib(text: &str, name: &str) -> io::Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib.saturating_mul(1024))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no {name} in /proc")))
}

/// Returns the lowest limit of the groups in `/proc/self/cgroup` and of all groups above
/// them.
fn cgroup_limit(root: &Path, groups: &str) -> Option<u64> {
    let mut least: Option<u64> = None;
    for group in groups.lines() {
        // The fields are hierarchy:controllers:path. Version 2 has no controllers.
        let mut parts = group.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (mounts, file): (&[&str], _) = if controllers.is_empty() {
            (&["sys/fs/cgroup", "sys/fs/cgroup/unified"], "memory.max")
        } else if controllers.split(',').any(|c| c == "memory") {
            (&["sys/fs/cgroup/memory"], "memory.limit_in_bytes")
        } else {
            continue;
        };
        for mount in mounts {
            let mount = root.join(mount);
            let mut dir: PathBuf = mount.join(path.trim_start_matches('/'));
            // In a container, the path may be that of the host. Folders that do not exist
            // are skipped, up to the mount, which is the container's own group.
            while dir.starts_with(&mount) {
                let limit = fs::read_to_string(dir.join(file))
                    .ok()
                    .and_then(|text| text.trim().parse::<u64>().ok());
                if let Some(limit) = limit {
                    least = Some(least.map_or(limit, |l| l.min(limit)));
                }
                if !dir.pop() {
                    break;
                }
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16000 kB\nMemFree:  1 kB\n";

    /// Makes a root folder with these files.
    fn world(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::TempDir::new().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[track_caller]
    fn assert_limit(files: &[(&str, &str)], bytes: u64, source: Source) {
        let dir = world(files);
        assert_eq!(limit_under(dir.path()).unwrap(), Limit { bytes, source });
    }

    #[test]
    fn the_least_limit_on_the_way_up_holds() {
        assert_limit(
            &[
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", "0::/system.slice/p2p-node.service\n"),
                (
                    "sys/fs/cgroup/system.slice/p2p-node.service/memory.max",
                    "max\n",
                ),
                ("sys/fs/cgroup/system.slice/memory.max", "4096000\n"),
                ("sys/fs/cgroup/memory.max", "8192000\n"),
            ],
            4_096_000,
            Source::Cgroup,
        );
    }

    #[test]
    fn version_1_and_a_container_whose_path_is_the_hosts() {
        let v1 = "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/docker/abc\n";
        assert_limit(
            &[
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", v1),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n"),
            ],
            1 << 20,
            Source::Cgroup,
        );
        assert_limit(
            &[
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", v1),
                (
                    "sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
            ],
            16_000 * 1024,
            Source::Machine,
        );
    }

    #[test]
    fn without_groups_the_machine_is_the_limit() {
        assert_limit(&[("proc/meminfo", MEMINFO)], 16_000 * 1024, Source::Machine);
        assert!(limit_under(world(&[("proc/meminfo", "x")]).path()).is_err());
    }

    #[test]
    fn without_meminfo_the_kernel_is_asked() {
        let told = limit_under(world(&[]).path()).unwrap();
        let read = field_kib(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal").unwrap();
        assert_eq!(told.source, Source::Machine);
        assert!(told.bytes.abs_diff(read) < 1 << 20, "{} {read}", told.bytes);
    }

    #[test]
    fn the_real_numbers_make_sense() {
        let (limit, resident) = (limit().unwrap().bytes, resident().unwrap());
        assert!(
            resident > 100_000 && resident < limit,
            "{resident} of {limit}"
        );
    }
}
