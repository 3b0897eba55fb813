//! Forwards what the swarm asks about connections to the behaviour inside another one.
//!
//! # What libp2p lacks
//!
//! A behaviour that changes one thing about another behaviour has to be written out in
//! full: the trait has no method that gives access to a behaviour inside. Forgetting
//! one of its methods is not an error, since most have a default, but changes what the
//! behaviour inside does.
//!
//! # What is done instead
//!
//! [`forward_connections!`] writes the four methods that the swarm calls before and after
//! the handshake of a connection.
//!
//! # What would make this superfluous
//!
//! A wrapper or an adapter in `libp2p-swarm`, as there are for handlers and upgrades.
//! <https://github.com/libp2p/rust-libp2p/issues/2485> asked for something
//! close to it, to add to one method of a derived behaviour without writing out the
//! others. It was closed.

/// The four questions about connections, forwarded to the field `$inner`. `$wrap`, when
/// given, is applied to the handlers of established connections, and the method `$keep`
/// chooses from the addresses that the behaviour inside adds to a dial.
macro_rules! forward_connections {
    ($inner:tt $(, $wrap:expr)? $(; $keep:path)?) => {
        fn handle_pending_inbound_connection(
            &mut self,
            id: ::libp2p::swarm::ConnectionId,
            local: &::libp2p::Multiaddr,
            remote: &::libp2p::Multiaddr,
        ) -> Result<(), ::libp2p::swarm::ConnectionDenied> {
            self.$inner
                .handle_pending_inbound_connection(id, local, remote)
        }

        fn handle_established_inbound_connection(
            &mut self,
            id: ::libp2p::swarm::ConnectionId,
            peer: ::libp2p::PeerId,
            local: &::libp2p::Multiaddr,
            remote: &::libp2p::Multiaddr,
        ) -> Result<::libp2p::swarm::THandler<Self>, ::libp2p::swarm::ConnectionDenied> {
            self.$inner
                .handle_established_inbound_connection(id, peer, local, remote)
                $(.map($wrap))?
        }

        fn handle_pending_outbound_connection(
            &mut self,
            id: ::libp2p::swarm::ConnectionId,
            peer: Option<::libp2p::PeerId>,
            addresses: &[::libp2p::Multiaddr],
            role: ::libp2p::core::Endpoint,
        ) -> Result<Vec<::libp2p::Multiaddr>, ::libp2p::swarm::ConnectionDenied> {
            self.$inner
                .handle_pending_outbound_connection(id, peer, addresses, role)
                $(.map(|added| $keep(self, added)))?
        }

        fn handle_established_outbound_connection(
            &mut self,
            id: ::libp2p::swarm::ConnectionId,
            peer: ::libp2p::PeerId,
            address: &::libp2p::Multiaddr,
            role: ::libp2p::core::Endpoint,
            port_use: ::libp2p::core::transport::PortUse,
        ) -> Result<::libp2p::swarm::THandler<Self>, ::libp2p::swarm::ConnectionDenied> {
            self.$inner
                .handle_established_outbound_connection(id, peer, address, role, port_use)
                $(.map($wrap))?
        }
    };
}

pub(in crate::node) use forward_connections;
