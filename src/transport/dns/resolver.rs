//! Resolves addresses with names to addresses without names.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_io::Timer;
use async_lock::{Semaphore, SemaphoreGuard};
use async_std::task::spawn_blocking;
use futures::future::{Either, select};
use futures::{StreamExt, pin_mut, stream};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use libp2p::Multiaddr;

use super::address::{Kind, Named};
use super::system::{Hickory, System};
use super::walk::Walk;
use super::{
    Error, MAX_CONCURRENT_LOOKUPS, MAX_RECORD_BYTES, MAX_RECORDS, MAX_RESOLUTIONS, Options,
};

/// How much later than the first family of addresses the second one may come. Some home
/// routers drop questions for IPv6 addresses, and waiting for the timeout would cost
/// every dial seconds.
const SECOND_FAMILY_GRACE: Duration = Duration::from_millis(500);

/// Where the multiaddrs of a name lie, by the specification of `/dnsaddr`.
const DNSADDR_LABEL: &str = "_dnsaddr";

/// What a TXT record with a multiaddr begins with.
const DNSADDR_KEY: &str = "dnsaddr=";

/// Resolves the names in addresses. Clones share one cache.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    /// Locked for a moment only, never across an await.
    system: Mutex<System>,
    /// One permit for each resolution that may be under way.
    permits: Semaphore,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("options", &self.shared.options)
            .finish()
    }
}

impl Resolver {
    /// Reads the system's files, when `options` point to files.
    ///
    /// # Errors
    ///
    /// When the options can never work. A file that is missing or invalid now is
    /// reported when a name is resolved, since it may be there by then.
    pub fn new(options: Options) -> Result<Resolver, Error> {
        let system = System::load(&options)?;
        Ok(Resolver {
            shared: Arc::new(Shared {
                options,
                system: Mutex::new(system),
                permits: Semaphore::new(MAX_RESOLUTIONS),
            }),
        })
    }

    /// The options it was made with.
    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// The addresses without names that `address` stands for, in the order in
    /// which to try them, at most [`super::MAX_ADDRESSES`]; `address` itself
    /// when it has no name.
    ///
    /// # Errors
    ///
    /// When no address was found: the first failure. When only some of the names
    /// failed, that is logged and not an error.
    pub async fn resolve(&self, address: &Multiaddr) -> Result<Vec<Multiaddr>, Error> {
        let Some(mut walk) = Walk::new(address) else {
            return Ok(vec![address.clone()]);
        };
        let _permit = self.permit(address)?;
        let deadline = self.shared.options.deadline;
        let timer = Timer::after(deadline);
        let timed_out = {
            let all = self.follow(&mut walk);
            pin_mut!(all);
            matches!(select(all, timer).await, Either::Right(_))
        };
        if timed_out {
            walk.time_out(deadline);
        }
        walk.finish()
    }

    fn permit(&self, address: &Multiaddr) -> Result<SemaphoreGuard<'_>, Error> {
        let permit = self.shared.permits.try_acquire();
        permit.ok_or_else(|| Error::Busy {
            name: address.to_string(),
            limit: MAX_RESOLUTIONS,
        })
    }

    async fn follow(&self, walk: &mut Walk) {
        let system = self.system().await;
        loop {
            let questions = walk.next_questions();
            if questions.is_empty() {
                return;
            }
            let mut answers = stream::iter(questions)
                .map(|named| look_up(&system, named))
                .buffered(MAX_CONCURRENT_LOOKUPS);
            while let Some(answer) = answers.next().await {
                walk.answer(answer);
            }
        }
    }

    /// The system's configuration as it is now.
    async fn system(&self) -> System {
        let current = self.current();
        if !current.has_files() {
            return current;
        }
        let options = self.shared.options.clone();
        let fresh = spawn_blocking(move || {
            if !current.is_stale() {
                return Ok(None);
            }
            System::load(&options).map(Some)
        });
        match fresh.await {
            Ok(Some(fresh)) => {
                log::info!("name servers or hosts changed: read again");
                *self
                    .shared
                    .system
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = fresh.clone();
                fresh
            }
            Ok(None) => self.current(),
            Err(e) => {
                log::warn!(error:% = e; "keeping the name servers as they were");
                self.current()
            }
        }
    }

    fn current(&self) -> System {
        self.shared
            .system
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What one name stands for.
async fn look_up(system: &System, named: Named) -> Result<Vec<Multiaddr>, Error> {
    if named.kind == Kind::Dnsaddr {
        return records(system, &named).await;
    }
    let ips = hosts(system, &named).await?;
    Ok(ips
        .into_iter()
        .take(MAX_RECORDS)
        .map(|ip| named.with_ip(ip))
        .collect())
}

fn resolver<'a>(system: &'a System, named: &Named) -> Result<&'a Hickory, Error> {
    system
        .resolver
        .as_ref()
        .map_err(|(file, reason)| Error::NoServers {
            name: named.name.clone(),
            file: file.display().to_string(),
            reason: reason.clone(),
        })
}

fn parse_name(named: &Named, name: &str) -> Result<Name, Error> {
    Name::from_str_relaxed(name).map_err(|e| Error::BadName {
        name: named.name.clone(),
        reason: e.to_string(),
    })
}

/// The IP addresses of a host.
async fn hosts(system: &System, named: &Named) -> Result<Vec<IpAddr>, Error> {
    let families: &[RecordType] = match named.kind {
        Kind::V4 => &[RecordType::A],
        Kind::V6 => &[RecordType::AAAA],
        Kind::Both | Kind::Dnsaddr => &[RecordType::AAAA, RecordType::A],
    };
    if let Ok(ip) = named.name.parse::<IpAddr>() {
        // `/dns4/127.0.0.1` is what people write who build addresses by hand.
        let family = if ip.is_ipv4() {
            RecordType::A
        } else {
            RecordType::AAAA
        };
        return match families.contains(&family) {
            true => Ok(vec![ip]),
            false => Err(no_records(named, families)),
        };
    }
    // Not made absolute: resolv.conf's search list and ndots hold, as for every
    // other program of the host (`/dns4/bootstrap` between containers).
    let name = parse_name(named, &named.name)?;
    let local: Vec<_> = families
        .iter()
        .flat_map(|f| system.hosts(&name, *f))
        .collect();
    if !local.is_empty() {
        return Ok(local);
    }
    let resolver = resolver(system, named)?;
    match families {
        [family] => ips(resolver, named, name, *family, families).await,
        _ => both(resolver, named, name, families).await,
    }
}

/// Asks for both families at once and mixes them, IPv6 first, so that the second
/// address to be tried is of the other family (RFC 8305, section 4).
async fn both(
    resolver: &Hickory,
    named: &Named,
    name: Name,
    families: &[RecordType],
) -> Result<Vec<IpAddr>, Error> {
    let v6 = ips(resolver, named, name.clone(), RecordType::AAAA, families);
    let v4 = ips(resolver, named, name, RecordType::A, families);
    pin_mut!(v6, v4);
    let (v6, v4) = match select(v6, v4).await {
        Either::Left((v6, v4)) => {
            let v4 = second(v6.is_ok(), v4).await;
            (Some(v6), v4)
        }
        Either::Right((v4, v6)) => {
            let v6 = second(v4.is_ok(), v6).await;
            (v6, Some(v4))
        }
    };
    match (v6, v4) {
        (Some(Ok(v6)), Some(Ok(v4))) => {
            let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
            let mut mixed = Vec::new();
            loop {
                let (a, b) = (v6.next(), v4.next());
                if a.is_none() && b.is_none() {
                    return Ok(mixed);
                }
                mixed.extend(a.into_iter().chain(b));
            }
        }
        (Some(Ok(ips)), _) | (_, Some(Ok(ips))) => Ok(ips),
        // Returns the failure that says more: not "no AAAA records" when the
        // question for A was not answered at all.
        (Some(Err(Error::NoRecords { .. })), Some(Err(other))) => Err(other),
        (Some(Err(error)), _) | (_, Some(Err(error))) => Err(error),
        (None, None) => Err(no_records(named, families)),
    }
}

/// Waits for the second family: as long as it takes when the first brought
/// nothing, else for a moment.
async fn second<F: Future + Unpin>(have_first: bool, family: F) -> Option<F::Output> {
    if !have_first {
        return Some(family.await);
    }
    match select(family, Timer::after(SECOND_FAMILY_GRACE)).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

/// The addresses of one family.
async fn ips(
    resolver: &Hickory,
    named: &Named,
    name: Name,
    family: RecordType,
    asked: &[RecordType],
) -> Result<Vec<IpAddr>, Error> {
    let lookup = resolver
        .lookup(name, family)
        .await
        .map_err(|e| explain(resolver, named, asked, e))?;
    let ips: Vec<IpAddr> = lookup
        .answers()
        .iter()
        .filter(|record| record.record_type() == family)
        .filter_map(|record| record.data.ip_addr())
        .collect();
    if ips.is_empty() {
        Err(no_records(named, asked))
    } else {
        Ok(ips)
    }
}

/// The multiaddrs of a `/dnsaddr` name.
async fn records(system: &System, named: &Named) -> Result<Vec<Multiaddr>, Error> {
    const ASKED: &[RecordType] = &[RecordType::TXT];
    // Absolute: a published name, to which no search list applies.
    let name = format!("{DNSADDR_LABEL}.{}.", named.name.trim_end_matches('.'));
    let name = parse_name(named, &name)?;
    let resolver = resolver(system, named)?;
    let lookup = resolver
        .lookup(name, RecordType::TXT)
        .await
        .map_err(|e| explain(resolver, named, ASKED, e))?;
    let mut count = 0;
    let mut found = Vec::new();
    for record in lookup.answers() {
        let RData::TXT(txt) = &record.data else {
            continue;
        };
        count += 1;
        if count > MAX_RECORDS {
            log::debug!(name = named.name, limit = MAX_RECORDS; "more TXT records than are looked at");
            break;
        }
        match parse_record(&txt.txt_data) {
            Some(address) => found.extend(named.with_record(&address)),
            None => log::debug!(name = named.name; "TXT record is not dnsaddr=<multiaddr>"),
        }
    }
    if count == 0 {
        return Err(no_records(named, ASKED));
    }
    if found.is_empty() {
        let ending = match named.suffix.is_empty() {
            true => String::new(),
            false => format!(" ending in {}", named.suffix),
        };
        return Err(Error::NoUsableRecords {
            name: named.name.clone(),
            records: count,
            ending,
        });
    }
    Ok(found)
}

/// The multiaddr of a TXT record. Its parts of up to 255 bytes are one text.
pub(crate) fn parse_record(parts: &[Box<[u8]>]) -> Option<Multiaddr> {
    if parts.iter().map(|p| p.len()).sum::<usize>() > MAX_RECORD_BYTES {
        return None;
    }
    let text = String::from_utf8(parts.concat()).ok()?;
    let address: Multiaddr = text.strip_prefix(DNSADDR_KEY)?.parse().ok()?;
    // "dnsaddr=" alone parses, as the address of nothing.
    (!address.is_empty()).then_some(address)
}

fn no_records(named: &Named, asked: &[RecordType]) -> Error {
    let (record, advice) = match asked {
        [RecordType::A] => ("A (IPv4)", "if it has IPv6 addresses, use /dns or /dns6"),
        [RecordType::AAAA] => ("AAAA (IPv6)", "if it has IPv4 addresses, use /dns or /dns4"),
        [RecordType::TXT] => ("TXT", "its dnsaddr records belong at _dnsaddr.<name>"),
        _ => ("A or AAAA", "check that its records are published"),
    };
    Error::NoRecords {
        name: named.name.clone(),
        record,
        advice,
    }
}

/// Turns hickory's error into one that says what to do.
fn explain(resolver: &Hickory, named: &Named, asked: &[RecordType], error: NetError) -> Error {
    let name = named.name.clone();
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            match response_code {
                // `_dnsaddr.x` not existing does not mean that `x` does not.
                ResponseCode::NXDomain if named.kind == Kind::Dnsaddr => Error::NotFound {
                    name: format!("{DNSADDR_LABEL}.{name}"),
                },
                ResponseCode::NXDomain => Error::NotFound { name },
                _ => no_records(named, asked),
            }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => Error::ServerFailure {
            name,
            code: code.to_string(),
        },
        NetError::Timeout => {
            let options = resolver.options();
            let tries = u32::try_from(options.attempts)
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            Error::Timeout {
                name,
                waited: options.timeout.saturating_mul(tries),
            }
        }
        NetError::Io(e) => Error::Network {
            name,
            reason: e.to_string(),
        },
        other => Error::Network {
            name,
            reason: other.to_string(),
        },
    }
}
