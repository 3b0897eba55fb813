//! What libp2p does not offer and this node does all the same: every trick on it, a file
//! each, which says what libp2p would have to offer so that it can go.
//!
//! | file | trick |
//! |---|---|
//! | [`gossipsub_address`] | keeps the addresses of peers from gossipsub |
//! | [`gossipsub_hello`] | has gossipsub tell a peer once more which topics are joined |
//! | [`hashed_size`] | measures values whose fields cannot be read |
//! | [`stream_class`] | tells the stream below libp2p what the stream above it is for |

pub(super) mod gossipsub_address;
pub(super) mod gossipsub_hello;
pub(super) mod hashed_size;
pub(super) mod stream_class;
