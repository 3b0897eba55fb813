//! What a reload of the configuration changes while the node runs.

use super::EventLoop;
use crate::node::configured;
use crate::node::error::Error;
use crate::node::options::Changes;
use crate::system::moment::Moment;

impl EventLoop {
    /// Applies a configuration in one turn, so that nobody sees half of it.
    pub(super) fn adjust(&mut self, changes: Changes, now: Moment) -> Result<(), Error> {
        if self.drain.is_draining() {
            return Err(Error::Draining);
        }
        let Changes {
            external_addrs,
            bootstrap_peers,
            peering,
            min_peers,
            relays,
            topics,
            limits,
            stream_idle_timeout,
            max_upload_rate,
            max_download_rate,
            trust,
        } = changes;
        let before = std::mem::take(&mut self.options.topics);
        self.with_gossip(now, |gossip, lent| {
            gossip.adjust_topics(&before, &topics, lent);
        });
        let neighbourhood = &mut self.neighbourhood;
        let effects = neighbourhood.adjust(&bootstrap_peers, &peering, min_peers);
        self.carry_out(effects, now);
        let effects = self.reach.adjust(&external_addrs, &relays);
        self.carry_out(effects, now);
        self.bandwidth.adjust(max_upload_rate, max_download_rate);
        self.idle.set_timeout(stream_idle_timeout);

        let configured = configured::addresses(&bootstrap_peers, &relays, &peering);
        let rates = trust.rates;
        self.options
            .policy
            .write(|peers| peers.adjust(trust, &configured));
        self.with_gossip(now, |gossip, lent| gossip.adjust_rates(rates, lent));
        self.swarm
            .behaviour_mut()
            .gate
            .adjust(limits.clone(), now.mono);

        let options = &mut self.options;
        options.external_addrs = external_addrs;
        options.bootstrap_peers = bootstrap_peers;
        options.peering = peering;
        options.min_peers = min_peers;
        options.relays = relays;
        options.topics = topics;
        options.limits = limits;
        options.stream_idle_timeout = stream_idle_timeout;
        options.max_upload_rate = max_upload_rate;
        options.max_download_rate = max_download_rate;
        let welcome = options.welcome();
        let total = options.limits.total;
        self.swarm.behaviour_mut().keep.adjust(total, welcome);
        self.record_limits();
        self.close_unwelcome(now);
        Ok(())
    }
}
