//! What libp2p does not offer and this node does all the same: every trick on libp2p, one
//! file each. Each file says what libp2p lacks, what is done instead, and what would have
//! to change in libp2p for the file to go.
//!
//! | file | trick |
//! |---|---|
//! | [`abortable_handshakes`] | a transport whose inbound handshakes can be ended |
//! | [`boxed_handlers`] | keeps the handlers of a connection behind a pointer |
//! | [`close_on_drop`] | closes a connection in order that the swarm merely drops |
//! | [`forward`] | forwards what the swarm asks to the behaviour inside another one |
//! | [`gossipsub_address`] | keeps the addresses of peers from gossipsub |
//! | [`gossipsub_hello`] | has gossipsub tell a peer once more which topics are joined |
//! | [`hashed_size`] | measures values whose fields cannot be read |
//! | [`lazy_buffers`] | lets streams of frames begin without buffers |
//! | [`muxer_error`] | finds the error of a multiplexer inside libp2p's errors |
//! | [`no_keep_alive`] | stops the streams of a protocol from keeping connections |
//! | [`pending_handshakes`] | what ends each handshake, until the gate is asked about it |
//! | [`query_addresses`] | reads the addresses that a query of the DHT has learnt |
//! | [`stream_class`] | tells the stream below libp2p what the stream above it is for |
//! | [`swarm_pauses`] | makes the swarm return when one poll has taken its time |

pub(super) mod abortable_handshakes;
pub(super) mod boxed_handlers;
pub(super) mod close_on_drop;
pub(super) mod forward;
pub(super) mod gossipsub_address;
pub(super) mod gossipsub_hello;
pub(super) mod hashed_size;
pub(super) mod lazy_buffers;
pub(super) mod muxer_error;
pub(super) mod no_keep_alive;
pub(super) mod pending_handshakes;
pub(super) mod query_addresses;
pub(super) mod stream_class;
pub(super) mod swarm_pauses;
