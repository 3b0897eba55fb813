//! Many files that one daemon puts with one command: enough nodes have the record of
//! each of them, and all others find it.

use std::time::Instant;

use cid::Cid;

use crate::crowd::{Crowd, Draw, Member, eventually};

/// Files of one command. Each costs the nodes sixty requests, and they share a host.
const FILES: usize = 150;

/// A record goes to so many nodes, and this node goes on until half of them hold it.
const RECEIVERS: usize = 20;

/// Who put the files, and what they are called.
pub(crate) struct Many {
    publisher: usize,
    cids: Vec<Cid>,
}

/// Member `publisher` puts files with one command; each is announced to enough of the
/// others.
pub(crate) async fn put(crowd: &Crowd, publisher: usize) -> Many {
    let begun = Instant::now();
    let before = records(crowd).await;
    let member = &crowd.members[publisher];
    let dir = member.dir().join("files");
    std::fs::create_dir_all(&dir).unwrap();
    let mut args = vec!["put".to_owned()];
    for n in 0..FILES {
        let path = dir.join(n.to_string());
        std::fs::write(&path, format!("one of many, the {n}th")).unwrap();
        args.push(path.to_str().unwrap().to_owned());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let printed = member.daemon().ok(&args);
    let cids: Vec<Cid> = printed
        .lines()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(cids.len(), FILES);
    let stored = begun.elapsed();
    // Nothing waits once each root was seen to be held by enough of its receivers.
    let mut left = u64::MAX;
    while left > 0 {
        eventually("the announcements of many files go on", async || {
            let now = member.status().await.announcements.waiting;
            (now < left).then(|| left = now)
        })
        .await;
    }
    println!(
        "{FILES} files of one command: stored after {:.1} s, announced after {:.1} s",
        stored.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    let held = records(crowd).await - before;
    let enough = (FILES * RECEIVERS.div_ceil(2)) as u64;
    assert!(held >= enough, "{held} records of {FILES} files");
    Many { publisher, cids }
}

/// Each of the files is found by another member.
pub(crate) async fn all_are_found(when: &str, crowd: &Crowd, many: &Many, draw: &mut Draw) {
    let begun = Instant::now();
    let publisher = crowd.members[many.publisher].peer();
    let others: Vec<&Member> = crowd
        .members
        .iter()
        .enumerate()
        .filter(|(n, member)| *n != many.publisher && member.runs())
        .map(|(_, member)| member)
        .collect();
    let mut missing = Vec::new();
    for cid in &many.cids {
        let mut client = others[draw.below(others.len())].client().await;
        let mut results = client.find_providers(cid, Some(1), None).await.unwrap();
        match results.next().await {
            Ok(Some(provider)) if provider.id == publisher => {}
            other => missing.push((cid, other)),
        }
    }
    println!(
        "{when}: {} of {FILES} files of one command are found, in {:.1} s",
        FILES - missing.len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(missing.is_empty(), "{when}: {missing:#?}");
}

/// Provider records that all nodes together hold for others.
async fn records(crowd: &Crowd) -> u64 {
    let mut sum = 0;
    for member in crowd.members.iter().chain([&crowd.door]) {
        sum += member.status().await.dht.provider_records;
    }
    sum
}
