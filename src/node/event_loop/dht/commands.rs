//! What programs on this host ask of the DHT.

use std::time::Duration;

use libp2p::kad;
use libp2p::kad::store::RecordStore;

use super::Dht;
use super::queries::{MAX_QUERIES, Waiter};
use crate::dht::owned::{Name, Seal};
use crate::node::command::DhtCommand;
use crate::node::dht_intake::{DhtIntake, Provision};
use crate::node::effect::View;
use crate::node::error::Error;
use crate::node::key_text::key_text;
use crate::text::unix_time::unix_millis;

/// How long a value that was put here is held and published again. Others hold it for the
/// same time, as the specification says.
const VALUE_TTL: Duration = Duration::from_secs(48 * 3600);

impl Dht {
    /// Carries out what a program on this host asks of the DHT.
    pub(in crate::node::event_loop) fn command(
        &mut self,
        command: DhtCommand,
        kad: &mut DhtIntake,
        view: View<'_>,
    ) {
        let now = view.now;
        let alone = super::routing_table_size(kad) == 0;
        let refusal = |kind: &'static str, key: &str| Error::Dht {
            kind,
            key: key.to_owned(),
            reason: if view.draining {
                "the node is draining".into()
            } else {
                format!(
                    "this host runs {MAX_QUERIES} DHT queries already, the most that one node \
                     may; try again later"
                )
            },
        };
        let refused = self.queries.is_full() || view.draining;
        match command {
            DhtCommand::ClosestPeers { key, reply } => {
                let text = key_text(&key);
                if refused {
                    let _ = reply.send(Err(refusal("closest-peers", &text)));
                    return;
                }
                let id = kad.get_closest_peers(key);
                self.queries
                    .insert(id, text, Waiter::ClosestPeers(reply), now);
            }
            DhtCommand::FindProviders {
                key,
                results,
                reply,
            } => {
                let text = key_text(&key);
                if refused {
                    let _ = reply.send(Err(refusal("find-providers", &text)));
                    return;
                }
                let id = kad.get_providers(key.into());
                let told = Default::default();
                self.queries
                    .insert(id, text, Waiter::Providers { results, told }, now);
                let _ = reply.send(Ok(()));
            }
            DhtCommand::Provide {
                key,
                of_content,
                verify,
                replies,
            } => {
                let text = key_text(&key);
                if refused {
                    let _ = replies.told.send(Err(refusal("provide", &text)));
                    return;
                }
                let key = kad::RecordKey::from(key);
                // A peer that asks this node for the providers gets this one at once.
                let kept = if of_content {
                    kad.store_mut().provide_content(key.clone());
                    Ok(())
                } else {
                    let record = kad::ProviderRecord::new(key.clone(), view.local, Vec::new());
                    kad.store_mut().add_provider(record)
                };
                let refusal = match kept {
                    Err(e) => Some(Error::Dht {
                        kind: "provide",
                        key: text.clone(),
                        reason: format!("{e} (P2P_DHT_MAX_RECORDS)"),
                    }),
                    // Kademlia reports success when there is no peer to tell.
                    Ok(()) if alone => Some(Error::NoDhtPeer {
                        kind: "provide",
                        key: text.clone(),
                    }),
                    Ok(()) => None,
                };
                if let Some(error) = refusal {
                    let _ = replies.told.send(Err(error));
                    return;
                }
                let id = kad.get_closest_peers(key.to_vec());
                let provision = Provision {
                    key,
                    verify,
                    replies,
                };
                self.queries
                    .insert(id, text, Waiter::Provide(provision), now);
            }
            DhtCommand::WatchTable { mut entered } => {
                if !alone {
                    // The channel is still empty, so this cannot fail.
                    let _ = entered.try_send(());
                }
                self.entered.push(entered);
            }
            DhtCommand::KeepContent { keys } => {
                for key in keys {
                    kad.store_mut().provide_content(key.into());
                }
            }
            DhtCommand::StopProviding { key } => kad.stop_providing(&key.into()),
            DhtCommand::GetValue {
                key,
                results,
                first_only,
                end,
            } => {
                let text = key_text(&key);
                if refused {
                    let _ = end.send(Err(refusal("get", &text)));
                    return;
                }
                let id = kad.get_record(key.into());
                let waiter = Waiter::Value {
                    results,
                    first_only,
                    found: Vec::new(),
                    newest: None,
                    signed: 0,
                    end,
                };
                self.queries.insert(id, text, waiter, now);
            }
            DhtCommand::PutValue { key, value, reply } => {
                let text = key_text(&key);
                if refused {
                    let _ = reply.send(Err(refusal("put", &text)));
                    return;
                }
                let value = match self.valid(&key, value, view) {
                    Ok(value) => value,
                    Err(reason) => {
                        let _ = reply.send(Err(Error::Dht {
                            kind: "put",
                            key: text,
                            reason,
                        }));
                        return;
                    }
                };
                let mut record = kad::Record::new(key, value);
                record.publisher = Some(view.local);
                // Kademlia sets an expiry for the copies that others hold, but none for
                // ours.
                record.expires = Some(now + VALUE_TTL);
                match kad.put_record(record, kad::Quorum::One) {
                    Ok(id) => self.queries.insert(id, text, Waiter::PutValue(reply), now),
                    Err(e) => {
                        let reason = match e {
                            kad::store::Error::ValueTooLarge => format!(
                                "the value is larger than {} bytes, the most that a DHT record holds",
                                crate::dht::records::MAX_VALUE_BYTES
                            ),
                            e => format!("{e} (P2P_DHT_MAX_RECORDS)"),
                        };
                        let _ = reply.send(Err(Error::Dht {
                            kind: "put",
                            key: text,
                            reason,
                        }));
                    }
                }
            }
        }
    }

    /// Returns a value as it goes into the DHT: signed if the key is a name of this node.
    ///
    /// # Errors
    /// Returns why no value, or not this one, may be put under the key.
    fn valid(&self, key: &[u8], value: Vec<u8>, view: View<'_>) -> Result<Vec<u8>, String> {
        let wall = view.wall;
        let Some(name) = Name::of(key) else {
            return match self.check(&key.to_vec().into(), &value, wall) {
                Ok(_) => Ok(value),
                Err(why) => Err(why.to_string()),
            };
        };
        let name = name.map_err(|e| format!("{e}; such a key is /p2p-node/PEER/NAME"))?;
        if name.owner() != view.local {
            return Err(format!("only {} can change it", name.owner()));
        }
        let seal = Seal {
            sequence: unix_millis(wall),
            ends: wall + VALUE_TTL,
        };
        seal.put_on(&name, value, &self.identity)
            .map_err(|e| e.to_string())
    }
}
