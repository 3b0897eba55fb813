//! The part in each connection, which asks the other side and answers it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};
use libp2p::{Stream, StreamProtocol};

use super::holds::Class;

/// How long the negotiation of the stream may take.
const PATIENCE: Duration = Duration::from_secs(10);

const YES: u8 = 1;
const NO: u8 = 0;

/// Distinguishes a request from the previous one on the same connection.
pub(super) type Number = u32;

/// What the behaviour tells a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Order {
    /// Keep the connection, and ask the other side to keep it.
    Hold(Number, Class),
    /// This side no longer wants the connection kept.
    Release,
    /// The answer to the request of the other side.
    Answer(bool),
    /// The connection is no longer kept for the other side.
    Dismiss,
}

/// What a handler tells the behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Report {
    /// The other side keeps the connection too.
    Agreed(Number),
    /// It does not keep the connection, or no longer does.
    Refused(Number),
    /// It does not know the protocol.
    Foreign(Number),
    /// The other side asks to keep the connection.
    Asked(Class),
    /// The other side no longer asks for that.
    Left,
}

enum Ours {
    None,
    /// The stream has to be opened at the next poll.
    Due,
    Opening,
    Asking(BoxFuture<'static, io::Result<(Stream, bool)>>),
    Agreed(Stream),
    Without,
}

enum Theirs {
    None,
    Reading(BoxFuture<'static, io::Result<(Stream, Class)>>),
    /// The behaviour has to decide.
    Asked(Stream),
    Answering(bool, BoxFuture<'static, io::Result<Stream>>),
    Accepted(Stream),
}

/// See the module's documentation.
pub(in crate::node) struct Handler {
    protocol: StreamProtocol,
    wish: Option<(Number, Class)>,
    ours: Ours,
    theirs: Theirs,
    /// Events for the next polls; each event below adds at most two.
    reports: VecDeque<Report>,
}

impl Handler {
    pub(super) fn new(protocol: StreamProtocol) -> Self {
        Handler {
            protocol,
            wish: None,
            ours: Ours::None,
            theirs: Theirs::None,
            reports: VecDeque::new(),
        }
    }

    fn report_ours(&mut self, ours: Ours, report: impl FnOnce(Number) -> Report) {
        self.ours = ours;
        if let Some((number, _)) = self.wish {
            self.reports.push_back(report(number));
        }
    }

    fn poll_ours(&mut self, cx: &mut Context<'_>) {
        match &mut self.ours {
            Ours::Asking(answer) => match answer.poll_unpin(cx) {
                Poll::Ready(Ok((stream, true))) => {
                    self.report_ours(Ours::Agreed(stream), Report::Agreed);
                    self.poll_ours(cx);
                }
                Poll::Ready(_) => self.report_ours(Ours::Without, Report::Refused),
                Poll::Pending => {}
            },
            Ours::Agreed(stream) => {
                if is_over(stream, cx) {
                    self.report_ours(Ours::Without, Report::Refused);
                }
            }
            Ours::None | Ours::Due | Ours::Opening | Ours::Without => {}
        }
    }

    fn poll_theirs(&mut self, cx: &mut Context<'_>) {
        match &mut self.theirs {
            Theirs::Reading(question) => match question.poll_unpin(cx) {
                Poll::Ready(Ok((stream, class))) => {
                    self.theirs = Theirs::Asked(stream);
                    self.reports.push_back(Report::Asked(class));
                }
                Poll::Ready(Err(_)) => self.theirs = Theirs::None,
                Poll::Pending => {}
            },
            Theirs::Answering(accepted, answer) => match (*accepted, answer.poll_unpin(cx)) {
                (true, Poll::Ready(Ok(stream))) => {
                    self.theirs = Theirs::Accepted(stream);
                    self.poll_theirs(cx);
                }
                (true, Poll::Ready(Err(_))) => self.left(),
                (false, Poll::Ready(_)) => self.theirs = Theirs::None,
                (_, Poll::Pending) => {}
            },
            Theirs::Accepted(stream) => {
                if is_over(stream, cx) {
                    self.left();
                }
            }
            Theirs::None | Theirs::Asked(_) => {}
        }
    }

    fn left(&mut self) {
        self.theirs = Theirs::None;
        self.reports.push_back(Report::Left);
    }
}

/// Whether the other side has ended a stream on which no more data is allowed.
fn is_over(stream: &mut Stream, cx: &mut Context<'_>) -> bool {
    Pin::new(stream).poll_read(cx, &mut [0]).is_ready()
}

async fn ask(mut stream: Stream, class: Class) -> io::Result<(Stream, bool)> {
    stream.write_all(&[class.byte()]).await?;
    stream.flush().await?;
    let mut answer = [NO];
    stream.read_exact(&mut answer).await?;
    Ok((stream, answer[0] == YES))
}

async fn question(mut stream: Stream) -> io::Result<(Stream, Class)> {
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    match Class::of_byte(byte[0]) {
        Some(class) => Ok((stream, class)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn answer(mut stream: Stream, accept: bool) -> io::Result<Stream> {
    stream.write_all(&[if accept { YES } else { NO }]).await?;
    stream.flush().await?;
    if !accept {
        stream.close().await?;
    }
    Ok(stream)
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Report;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Number;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        let accepted = matches!(
            self.theirs,
            Theirs::Answering(true, _) | Theirs::Accepted(_)
        );
        self.wish.is_some() || accepted
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Number, Report>> {
        if let (Ours::Due, Some((number, _))) = (&self.ours, self.wish) {
            self.ours = Ours::Opening;
            let protocol = ReadyUpgrade::new(self.protocol.clone());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(protocol, number).with_timeout(PATIENCE),
            });
        }
        self.poll_ours(cx);
        self.poll_theirs(cx);
        match self.reports.pop_front() {
            Some(report) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report)),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, order: Order) {
        match order {
            Order::Hold(number, class) => {
                self.wish = Some((number, class));
                self.ours = Ours::Due;
            }
            Order::Release => {
                self.wish = None;
                // Its end tells the other side.
                self.ours = Ours::None;
            }
            Order::Answer(accept) => match std::mem::replace(&mut self.theirs, Theirs::None) {
                Theirs::Asked(stream) => {
                    self.theirs = Theirs::Answering(accept, answer(stream, accept).boxed());
                }
                // In the meantime it left or asked again, of which the behaviour is told.
                other => self.theirs = other,
            },
            Order::Dismiss => {
                let accepted = matches!(
                    self.theirs,
                    Theirs::Answering(true, _) | Theirs::Accepted(_)
                );
                if accepted {
                    // Its end tells the other side.
                    self.theirs = Theirs::None;
                }
            }
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Number>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: mut stream,
                ..
            }) => {
                stream.ignore_for_keep_alive();
                // A peer has only one request, the latest.
                if matches!(
                    self.theirs,
                    Theirs::Answering(true, _) | Theirs::Accepted(_)
                ) {
                    self.left();
                }
                self.theirs = Theirs::Reading(question(stream).boxed());
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: mut stream,
                info: number,
            }) => {
                stream.ignore_for_keep_alive();
                match self.wish {
                    Some((wanted, class)) if wanted == number => {
                        self.ours = Ours::Asking(ask(stream, class).boxed());
                    }
                    // It was released in the meantime.
                    _ => drop(stream),
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error })
                if self.wish.is_some_and(|(wanted, _)| wanted == info) =>
            {
                match error {
                    StreamUpgradeError::NegotiationFailed => {
                        self.report_ours(Ours::Without, Report::Foreign);
                    }
                    _ => self.report_ours(Ours::Without, Report::Refused),
                }
            }
            _ => {}
        }
    }
}
