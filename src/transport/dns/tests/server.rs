//! A small authoritative name server on loopback, over UDP and TCP at one port,
//! that answers whatever a test tells it to, well-formed or not.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// What the server says to a question.
#[derive(Clone)]
pub(super) enum Reply {
    Records(Vec<RData>),
    /// A response code without records, such as NXDOMAIN.
    Code(ResponseCode),
    /// The question's id, then these bytes.
    Raw(Vec<u8>),
    /// Nothing.
    Silence,
}

impl Reply {
    pub(super) fn ips(ips: &[&str]) -> Reply {
        Reply::Records(
            ips.iter()
                .map(|ip| RData::from(ip.parse::<IpAddr>().unwrap()))
                .collect(),
        )
    }

    pub(super) fn txt<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Reply {
        Reply::Records(
            texts
                .into_iter()
                .map(|t| txt(&[t.as_ref().as_bytes()]))
                .collect(),
        )
    }
}

/// A TXT record of these parts.
pub(super) fn txt(parts: &[&[u8]]) -> RData {
    RData::TXT(TXT::from_bytes(parts.to_vec()))
}

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    Udp,
    Tcp,
}

/// A question that the server got: lower-case name without final dot, type, way.
pub(super) type Question = (String, RecordType, Via);

type Answer = dyn Fn(&Question) -> Reply + Send + Sync;

pub(super) struct Server {
    pub(super) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Question>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The largest answer that goes over UDP here: what fits an Ethernet frame, as
/// real servers do; larger ones are truncated.
const UDP_BYTES: usize = 1232;

impl Server {
    /// Answers from a table; other names do not exist, other types have no records.
    pub(super) fn table<N: Into<String>>(
        table: impl IntoIterator<Item = (N, RecordType, Reply)>,
    ) -> Server {
        let table: HashMap<_, _> = table
            .into_iter()
            .map(|(name, kind, reply)| ((name.into(), kind), reply))
            .collect();
        Server::new(
            move |(name, kind, _)| match table.get(&(name.clone(), *kind)) {
                Some(reply) => reply.clone(),
                None if table.keys().any(|(n, _)| n == name) => Reply::Records(Vec::new()),
                None => Reply::Code(ResponseCode::NXDomain),
            },
        )
    }

    pub(super) fn new(answer: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Server {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            // The port may be taken for UDP: then another one.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (tcp, udp);
            }
        };
        let addr = tcp.local_addr().unwrap();
        let answer: Arc<Answer> = Arc::new(answer);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let reply = {
            let asked = asked.clone();
            move |via, packet: &[u8]| respond(&*answer, &asked, via, packet)
        };
        let udp_thread = {
            let (reply, stop) = (reply.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut packet = [0; 4096];
                while let Ok((len, from)) = udp.recv_from(&mut packet) {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    if let Some(response) = reply(Via::Udp, &packet[..len]) {
                        udp.send_to(&response, from).unwrap();
                    }
                }
            })
        };
        let tcp_thread = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                for stream in tcp.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    // One connection at a time: the resolver makes one.
                    let _ = serve(stream.unwrap(), &reply);
                }
            })
        };
        Server {
            addr,
            asked,
            stop,
            threads: vec![udp_thread, tcp_thread],
        }
    }

    /// Every question so far, in order.
    pub(super) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(|s| s.send_to(b"", self.addr));
        let _ = TcpStream::connect(self.addr);
        let udp = self.threads.remove(0);
        let _ = udp.join();
        // The TCP thread may still serve a resolver that is not dropped yet.
    }
}

fn serve(
    mut stream: TcpStream,
    reply: &impl Fn(Via, &[u8]) -> Option<Vec<u8>>,
) -> std::io::Result<()> {
    loop {
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut packet = vec![0; u16::from_be_bytes(len).into()];
        stream.read_exact(&mut packet)?;
        if let Some(response) = reply(Via::Tcp, &packet) {
            let len = u16::try_from(response.len()).unwrap();
            stream.write_all(&[&len.to_be_bytes()[..], &response].concat())?;
        }
    }
}

fn respond(
    answer: &Answer,
    asked: &Mutex<Vec<Question>>,
    via: Via,
    packet: &[u8],
) -> Option<Vec<u8>> {
    let request = Message::from_vec(packet).unwrap();
    let query = request.queries[0].clone();
    let name = query.name().to_lowercase().to_string();
    let question = (
        name.trim_end_matches('.').to_owned(),
        query.query_type(),
        via,
    );
    asked.lock().unwrap().push(question.clone());

    let mut response = Message::response(request.id, request.op_code);
    response.metadata.recursion_desired = true;
    response.metadata.recursion_available = true;
    response.add_query(query.clone());
    match answer(&question) {
        Reply::Silence => return None,
        Reply::Raw(bytes) => return Some([&packet[..2], &bytes].concat()),
        Reply::Code(code) => response.metadata.response_code = code,
        Reply::Records(records) => {
            let name: Name = query.name().clone();
            response.add_answers(
                records
                    .into_iter()
                    .map(|r| Record::from_rdata(name.clone(), 60, r)),
            );
        }
    }
    let bytes = response.to_vec().unwrap();
    if via == Via::Udp && bytes.len() > UDP_BYTES {
        let mut short = Message::response(request.id, request.op_code);
        short.metadata.truncation = true;
        short.add_query(query);
        return Some(short.to_vec().unwrap());
    }
    Some(bytes)
}
