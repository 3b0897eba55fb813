//! One attack on one victim: honest traffic before it, the attack, and what remains
//! when it is over.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;

use crate::honest::{Figures, Honest, Place};
use crate::lan::Lan;
use crate::process::{Attacker, Order, Tally};
use crate::report::say;
use crate::victim::{PATIENCE, Victim, mib};

/// How long honest traffic is measured without an attack.
const BASELINE: Duration = Duration::from_secs(3);

/// Attacks are measured, so one runs at a time; beside it at most one that only
/// waits, for the victim to lose its patience, and takes no processor time.
static MACHINE: Mutex<()> = Mutex::new(());
static WAITING: Mutex<()> = Mutex::new(());

/// A victim, honest peers, and whatever attacks them.
pub(crate) struct Bout {
    pub(crate) victim: Victim,
    pub(crate) honest: Honest,
    pub(crate) lan: Option<Lan>,
    pub(crate) dir: tempfile::TempDir,
    name: &'static str,
    baseline: Figures,
    before: u64,
    idle_cpu: f64,
    _machine: MutexGuard<'static, ()>,
}

/// How an attack went.
pub(crate) struct Outcome {
    /// What the attackers counted.
    pub(crate) tally: Tally,
    pub(crate) during: Figures,
    pub(crate) before: u64,
    pub(crate) peak: u64,
    /// Cores that the victim kept busy, beyond what honest traffic alone did.
    pub(crate) cores: f64,
    /// Honest traffic under attack as a share of that without, 0 to 1.
    pub(crate) messages: f64,
    pub(crate) transfers: f64,
}

impl Bout {
    /// Everybody on loopback.
    pub(crate) fn loopback(name: &'static str) -> Bout {
        Bout::new(name, None, &MACHINE)
    }

    /// The same, of an attack that waits for longer than others take.
    pub(crate) fn of_patience(name: &'static str) -> Bout {
        Bout::new(name, None, &WAITING)
    }

    /// Host 1 is the victim, 2 the attacker's, 3 and 4 are honest.
    pub(crate) fn on_a_network(name: &'static str, lan: Lan) -> Bout {
        Bout::new(name, Some(lan), &MACHINE)
    }

    fn new(name: &'static str, lan: Option<Lan>, machine: &'static Mutex<()>) -> Bout {
        let machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let victim = Victim::start(&dir.path().join("victim"), lan.as_ref().map(|l| l.host(1)));
        let places = match &lan {
            Some(lan) => [Place::host(lan, 3), Place::host(lan, 4)],
            None => [Place::loopback(1), Place::loopback(2)],
        };
        let honest = Honest::start(dir.path(), &victim, places);
        let mark = honest.mark();
        let cpu = victim.cpu();
        let end = Instant::now() + BASELINE;
        while Instant::now() < end {
            std::thread::park_timeout(end - Instant::now());
        }
        let baseline = honest.since(&mark);
        assert!(
            baseline.delivered() > 0.5,
            "without an attack: {baseline:?}"
        );
        assert!(baseline.transfers > 0, "without an attack: {baseline:?}");
        let before = victim.resident();
        let idle_cpu = (victim.cpu() - cpu) / BASELINE.as_secs_f64();
        Bout {
            victim,
            honest,
            lan,
            dir,
            name,
            baseline,
            before,
            idle_cpu,
            _machine: machine,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// An order against the victim.
    pub(crate) fn order(&self, attack: &str, seconds: u64, count: usize) -> Order {
        order(attack, self.victim.address(), seconds, count)
    }

    /// Starts an attacker where attackers are.
    pub(crate) fn attacker(&self, order: &Order) -> Attacker {
        Attacker::start(order, self.lan.as_ref().map(|l| l.host(2)))
    }

    /// Lets the attackers loose and measures until the last has ended.
    /// `meanwhile` runs beside them.
    pub(crate) fn fight(&mut self, orders: &[Order], meanwhile: impl FnOnce(&mut Self)) -> Outcome {
        self.victim.forget_peak();
        let mark = self.honest.mark();
        let (begun, cpu) = (Instant::now(), self.victim.cpu());
        let attackers: Vec<_> = orders.iter().map(|o| self.attacker(o)).collect();
        meanwhile(self);
        let tally = Tally::default();
        for attacker in attackers {
            tally.join(&attacker.finish());
        }
        // A victim that was restarted began to count anew: its last life counts.
        let seconds = begun.elapsed().as_secs_f64();
        let used = self.victim.cpu();
        let cores = if used < cpu { used } else { used - cpu } / seconds - self.idle_cpu;
        let during = self.honest.since(&mark);
        let gaps = self.honest.gaps(&mark);
        if !gaps.is_empty() {
            say(&format!(
                "no honest message arrived in these seconds: {gaps:?}"
            ));
        }
        let peak = self.victim.peak();
        self.victim.assert_well();
        Outcome {
            tally,
            during,
            before: self.before,
            peak,
            cores: cores.max(0.0),
            messages: during.delivered() / self.baseline.delivered(),
            transfers: during.transfers_a_second / self.baseline.transfers_a_second,
        }
    }

    /// Waits until the victim is down to `allowed` bytes above what it had
    /// before, and prints the row. `defence` is what became of the offender.
    ///
    /// # Errors
    /// When memory does not come back.
    pub(crate) fn report(
        &mut self,
        outcome: &Outcome,
        allowed: u64,
        defence: &str,
    ) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let mut after = self.victim.resident();
        while after > self.before + allowed && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(100));
            after = self.victim.resident();
        }
        self.victim.assert_well();
        say(&format!(
            "| {} | {} | {} | {} / {} / {} | {:.2} | {:.0}% | {:.0}%, {} failed |",
            self.name,
            outcome.tally,
            defence,
            mib(self.before),
            mib(outcome.peak),
            mib(after),
            outcome.cores,
            outcome.messages * 100.0,
            outcome.transfers * 100.0,
            outcome.during.failed,
        ));
        if after <= self.before + allowed {
            return Ok(());
        }
        Err(format!(
            "memory does not come back: {} MiB before, {} MiB after, {} MiB more allowed",
            mib(self.before),
            mib(after),
            mib(allowed),
        ))
    }
}

impl Outcome {
    /// # Errors
    /// When the victim grew by more than `bytes`.
    pub(crate) fn grew_at_most(&self, bytes: u64) -> Result<(), String> {
        let grown = self.peak.saturating_sub(self.before);
        if grown <= bytes {
            return Ok(());
        }
        Err(format!(
            "grew by {} MiB, {} MiB are allowed; {}",
            mib(grown),
            mib(bytes),
            self.tally
        ))
    }

    /// # Errors
    /// When honest traffic kept less than these shares.
    pub(crate) fn honest_kept(&self, messages: f64, transfers: f64) -> Result<(), String> {
        if self.messages >= messages && self.transfers >= transfers {
            return Ok(());
        }
        Err(format!(
            "honest traffic kept {:.2} of its messages and {:.2} of its transfers, at least {messages} and {transfers} are promised: {:?}; {}",
            self.messages, self.transfers, self.during, self.tally
        ))
    }
}

/// An order of `attack` against `target`.
pub(crate) fn order(attack: &str, target: Multiaddr, seconds: u64, count: usize) -> Order {
    Order {
        attack: attack.to_owned(),
        target,
        seconds,
        count,
        more: Vec::new(),
    }
}
