use super::*;
use crate::records::tests::network;
use model::Attachment;
use std::net::IpAddr;

fn me() -> HostId {
    HostId::from_entropy([1; 32])
}

fn other() -> HostId {
    HostId::from_entropy([2; 32])
}

fn endpoint(id: u8, host: HostId, last: u8) -> Endpoint {
    let address = std::net::Ipv4Addr::new(192, 168, 0, last);
    Endpoint {
        schema: Endpoint::SCHEMA,
        id: EndpointId::from_entropy([id; 32]),
        name: model::Name::new(model::NameKind::Endpoint, &format!("e{id}")).unwrap(),
        network: NetworkId::from_entropy([1; 32]),
        ep_iface: model::EndpointInterface {
            addr: Some(ipnet::Ipv4Net::new(address, 24).unwrap()),
            addrv6: None,
            mac: Some(model::MacAddr::from_ipv4(address)),
        },
        host,
        locator: Some(IpAddr::from([192, 168, 56, 12])),
        way_out: Vec::new(),
        attachment: Attachment {
            path: "/run/netns/x".into(),
            namespace: model::NamespaceId { device: 4, inode: id.into(), boot: String::new() },
            process: None,
            sandbox: None,
        },
        owner: None,
        ifname: None,
        routes: None,
        route_priority: 0,
        created: model::Timestamp(0),
    }
}

fn net() -> Network {
    network(1, "n", "192.168.0.0/24")
}

fn put(key: String, value: Vec<u8>, revision: u64) -> Event {
    Event { key, kind: EventKind::Put(value), revision }
}

fn delete(key: String, revision: u64) -> Event {
    Event { key, kind: EventKind::Delete, revision }
}

fn network_event(revision: u64) -> Event {
    put(records::network_key(&net().id), records::network_json(&net()), revision)
}

/// An endpoint's record and claim, as its transaction writes them.
fn attached(endpoint: &Endpoint, revision: u64) -> Vec<Event> {
    let claim = records::claim_key(&net(), endpoint.ep_iface.addr.unwrap().addr().into());
    let owner = format!("endpoint {}", endpoint.id).into_bytes();
    vec![put(records::endpoint_key(endpoint), records::json(endpoint), revision), put(claim, owner, revision)]
}

fn detached(endpoint: &Endpoint, revision: u64) -> Vec<Event> {
    attached(endpoint, revision).into_iter().map(|e| delete(e.key, revision)).collect()
}

fn tell(state: &mut State, events: &[Event]) -> Changes {
    let revision = events.last().map_or(0, |e| e.revision);
    apply(state, &me(), events, revision)
}

fn is_free(state: &State, last: u8) -> bool {
    state.space.holder(IpAddr::from([192, 168, 0, last])).is_none()
}

/// This host's own attach: reserved, written, settled.
fn own(state: &mut State, endpoint: &Endpoint, revision: u64) {
    let address = endpoint.ep_iface.addr.unwrap().addr().into();
    state.space.claim(&net().name, address).unwrap();
    state.committed.insert(endpoint.id.clone(), revision);
    state.add_endpoint(endpoint);
}

/// Nothing known yet of a store that hosts share.
fn shared() -> State {
    let mut state = State::default();
    state.shared = true;
    state
}

#[test]
fn what_others_do_takes_addresses_and_gives_peers() {
    let mut state = shared();
    tell(&mut state, &[network_event(1)]);
    let theirs = endpoint(7, other(), 9);
    let changes = tell(&mut state, &attached(&theirs, 2));
    assert!(!is_free(&state, 9) && changes.peers[&net().id].len() == 2 && state.seen == 2);
    let changes = tell(&mut state, &detached(&theirs, 3));
    assert!(is_free(&state, 9) && state.remote.is_empty() && changes.peers[&net().id].len() == 2);
}

/// The store has given the address on before this host has heard the answer to its own detach.
#[test]
fn an_address_that_went_on_to_another_host_stays_taken_when_ours_lets_go() {
    let mut state = shared();
    tell(&mut state, &[network_event(1)]);
    let (mine, theirs) = (endpoint(3, me(), 9), endpoint(7, other(), 9));
    own(&mut state, &mine, 2);
    state.unsettled.insert(mine.id.to_string());
    tell(&mut state, &[detached(&mine, 3), attached(&theirs, 4)].concat());
    state.forget_endpoint(&net(), &mine);
    assert!(!is_free(&state, 9), "the other host's");
    tell(&mut state, &detached(&theirs, 5));
    assert!(is_free(&state, 9));
}

#[test]
fn a_list_that_is_older_than_an_own_commit_takes_nothing_away() {
    let mut state = shared();
    tell(&mut state, &[network_event(1)]);
    let mine = endpoint(3, me(), 9);
    own(&mut state, &mine, 10);
    let entry = |e: Event| match e.kind {
        EventKind::Put(value) => Entry { key: e.key, value, revision: e.revision },
        EventKind::Delete => unreachable!(),
    };
    let list = [entry(network_event(1))];
    assert!(adopt(&mut state, &me(), &list, 9, false).lost.is_empty());
    assert_eq!(adopt(&mut state, &me(), &list, 10, false).lost, std::slice::from_ref(&mine.id));
    // One whose record the outbox is still to write is not missed either.
    state.untold.insert(mine.id.clone(), endpoint(4, me(), 9).id);
    assert!(adopt(&mut state, &me(), &list, 10, false).lost.is_empty());
    // Nor is a network of a moment ago.
    state.revisions.insert(net().id, 12);
    assert!(adopt(&mut state, &me(), &[], 11, false).removed.is_empty());
    assert_eq!(adopt(&mut state, &me(), &[], 12, false).removed.len(), 1);
}

#[test]
fn the_echo_of_a_network_that_is_gone_brings_nothing_back() {
    let mut state = shared();
    tell(&mut state, &[network_event(1)]);
    state.forget_network(&net());
    tell(&mut state, &[network_event(1)]);
    assert!(state.networks.is_empty());
}

#[test]
fn an_older_copy_of_the_store_brings_nothing_back_either() {
    let mut state = shared();
    tell(&mut state, &[network_event(1)]);
    let (mine, gone) = (endpoint(3, me(), 9), endpoint(4, me(), 10));
    own(&mut state, &mine, 2);
    let entries: Vec<Entry> = [vec![network_event(1)], attached(&mine, 2), attached(&gone, 2)]
        .concat()
        .into_iter()
        .filter_map(|e| match e.kind {
            EventKind::Put(value) => Some(Entry { key: e.key, value, revision: e.revision }),
            EventKind::Delete => None,
        })
        .collect();
    assert_eq!(risen(&state, &me(), &entries), [records::delete_endpoint(&net(), &gone)]);
    state.held.insert(gone.id.clone(), (net(), gone));
    assert_eq!(risen(&state, &me(), &entries), [], "that is the outbox's");
}

#[test]
fn a_network_that_is_in_the_way_is_noted_for_another_try() {
    let mut state = shared();
    let ours = network(9, "n", "192.168.0.0/25");
    state.add_network(&ours).unwrap();
    tell(&mut state, &[network_event(1)]);
    assert_eq!((state.networks.len(), state.refused.len()), (1, 1));
    state.forget_network(&ours);
    state.refused.clear();
    tell(&mut state, &[network_event(1)]);
    assert_eq!((state.networks.len(), state.refused.len()), (1, 0));
}

#[test]
fn a_claim_that_is_gone_for_no_reason_is_missed() {
    let mut state = shared();
    tell(&mut state, &[network_event(1)]);
    let mine = endpoint(3, me(), 9);
    own(&mut state, &mine, 5);
    let claim = |revision| delete(records::claim_key(&net(), [192, 168, 0, 9].into()), revision);
    assert!(tell(&mut state, &[claim(4)]).lost.is_empty(), "that of the one before it");
    assert_eq!(tell(&mut state, &[claim(6)]).lost, std::slice::from_ref(&mine.id));
    assert_eq!(tell(&mut state, &detached(&mine, 7)).lost, std::slice::from_ref(&mine.id), "once");
    state.unsettled.insert(mine.id.to_string());
    assert!(tell(&mut state, &[claim(8)]).lost.is_empty(), "its own detach");
}

#[test]
fn a_network_that_is_asserted_anew_comes_back() {
    let mut state = shared();
    tell(&mut state, &[network_event(1), delete(records::vni_key(model::Vni::FIRST), 5)]);
    state.forget_network(&net());
    assert!(!tell(&mut state, &[network_event(5)]).relist && state.networks.is_empty());
    assert!(tell(&mut state, &[network_event(6)]).relist && state.networks.len() == 1);
}

#[test]
fn word_of_a_removal_is_for_what_was_there_before() {
    let mut state = shared();
    tell(&mut state, &[network_event(1)]);
    let (old, new) = (endpoint(3, me(), 9), endpoint(4, me(), 10));
    own(&mut state, &old, 2);
    own(&mut state, &new, 8);
    let removal = records::Removal { nonce: "1".into(), by: "b".into(), at: model::Timestamp(1) };
    let word = |host: HostId| put(records::removed_key(&host), records::json(&removal), 5);
    assert_eq!(tell(&mut state, &[word(other())]).removed_here, None, "another host's affair");
    let removed = tell(&mut state, &[word(me())]).removed_here.unwrap();
    assert_eq!((removed.revision, removed.endpoints), (5, vec![old.id]));
}

#[test]
fn a_host_that_lives_is_not_forgotten_with_its_lasting_record() {
    let mut state = shared();
    let host = Host {
        schema: Host::SCHEMA,
        id: other(),
        name: "b".into(),
        vtep: [192, 168, 56, 12].into(),
        gossip: None,
        underlay_mtu: 1500,
        version: "1".into(),
        registered: model::Timestamp(1),
    };
    let (lease, known) = (records::host_key(&host.id), records::known_key(&host.id));
    tell(&mut state, &[put(lease.clone(), records::json(&host), 1), put(known.clone(), records::json(&host), 1)]);
    tell(&mut state, &[delete(known.clone(), 2)]);
    assert!(state.hosts[&host.id].missing_since.is_none());
    // Both at once: it was removed.
    tell(&mut state, &[delete(known, 3), delete(lease, 3)]);
    assert!(state.hosts.is_empty());
}
