//! Tests of the checks. For each rule there is a short run that breaks nothing. With an object that misbehaves, the same run
//! breaks the rule.

use presence::{Effect, Reply, Save};
use shared::{
    ids::UserId,
    internal::{Interest, PeerAnswer, PeerMessage, PeerSay, Presence},
    page::Page,
    time::Timestamp,
    wire::{ClientMessage, PageView, PresenceUpdate, ServerMessage},
};
use sim::{
    core::id_of,
    rules::{Rule, Rules},
    steps::{Device, Leave, Planned, Setting, Step, Tab, Who},
    world::{self, Cause, EffectMutator, Said},
};

const HEALTHY: EffectMutator = EffectMutator { effects: |_, _, _| {}, stray_alarms: false };

/// Writes a row for each page.
pub const WRITES: EffectMutator = EffectMutator {
    effects: |_, cause, effects| {
        if is_page(cause) {
            effects.push(Effect::Save(Save::EventIds(Vec::new())));
        }
    },
    ..HEALTHY
};

const ALICE: Device = Device { user: 0, number: 0 };
const BOB: Device = Device { user: 1, number: 0 };

/// Alice, Bob and Carol. Alice and Bob are friends and show each other all sites. Carol does nothing.
fn setting() -> Setting {
    Setting { seed: 1, users: 3, days: 0.01, haste: 1.0, faults: false, steady: true, ignored: Rules::default() }
}

/// Alice and Bob come online and turn to pages. Then the steps in `more` follow. Times are in seconds.
fn story(more: &[(i64, Step)]) -> Vec<Planned> {
    let beginning = [
        (1, Step::Share(0, 0)),
        (2, Step::Share(1, 0)),
        (10, Step::On(ALICE)),
        (20, Step::On(BOB)),
        (40, Step::Turn(ALICE, Tab::Site(1))),
        (50, Step::Turn(BOB, Tab::Site(2))),
    ];
    let mut steps: Vec<Planned> =
        beginning.iter().chain(more).map(|(s, step)| Planned { at: s * 1_000, step: step.clone() }).collect();
    steps.sort_by_key(|planned| planned.at);
    steps
}

fn check(rule: Rule, more: &[(i64, Step)], effects: fn(Who, &Cause, &mut Vec<Effect>)) {
    check_doctor(rule, more, &EffectMutator { effects, ..HEALTHY });
}

fn check_doctor(rule: Rule, more: &[(i64, Step)], mutator: &EffectMutator) {
    let steps = story(more);
    let healthy = world::run(&setting(), &steps, None, None);
    assert_eq!(healthy.violation, None);
    let doctored = world::run(&setting(), &steps, Some(mutator), None);
    assert_eq!(doctored.violation.map(|violation| violation.rule), Some(rule));
}

fn is_page(cause: &Cause) -> bool {
    matches!(cause, Cause::Frame { frame: Said::Message(ClientMessage::UpdatePresence { .. }), .. })
}

/// What user 0 shows with that page in front.
fn showing(seq: u64, url: &str) -> Presence {
    let PageView { url, title, domain } = PageView::from(Page::parse(url, "A page").unwrap().as_ref());
    Presence::new(PresenceUpdate {
        user_id: id_of(0),
        latest_url: url.clone(),
        latest_title: title.clone(),
        latest_domain: domain.clone(),
        url,
        title,
        domain,
        seq,
        at: Timestamp::from_unix_ms(1),
        idle: false,
        idle_since: None,
    })
}

fn alter(presence: &mut Presence, alter: impl FnOnce(&mut PresenceUpdate)) {
    let mut update = presence.read().unwrap();
    alter(&mut update);
    *presence = Presence::new(update);
}

fn alter_told(effects: &mut [Effect], change: impl Fn(&mut PresenceUpdate)) {
    for effect in effects {
        if let Effect::CallPeers { message: PeerMessage { say: PeerSay::Presence { presence }, .. }, .. } = effect {
            alter(presence, &change);
        }
    }
}

fn alter_shown(effects: &mut [Effect], of: &UserId, change: impl Fn(&mut PresenceUpdate)) {
    for effect in effects {
        if let Effect::Show { presence, .. } = effect
            && presence.read().unwrap().user_id == *of
        {
            alter(presence, &change);
        }
    }
}

#[test]
fn a_hidden_page_that_is_told_is_found() {
    let hide = [(100, Step::Share(0, 2)), (110, Step::Share(0, 0)), (120, Step::Turn(ALICE, Tab::Site(3)))];
    check(Rule::HiddenStaysHidden, &hide, |who, cause, effects| {
        if who == 0 && !is_page(cause) {
            alter_told(effects, |told| {
                if told.url.is_empty() {
                    *told = showing(told.seq, "https://site1.com/hidden").read().unwrap();
                }
            });
        }
    });
}

#[test]
fn a_fragment_that_is_told_is_found() {
    check(Rule::HiddenStaysHidden, &[(100, Step::Turn(ALICE, Tab::Dressed(3)))], |who, _, effects| {
        if who == 0 {
            alter_told(effects, |told| {
                for url in [&mut told.url, &mut told.latest_url].into_iter().filter(|url| url.contains("site3")) {
                    url.push_str("#never");
                }
            });
        }
    });
}

#[test]
fn a_call_to_a_former_friend_is_found() {
    let part = [(100, Step::Unfriend(0, 1)), (120, Step::Turn(ALICE, Tab::Site(3)))];
    check(Rule::StrangersGetNothing, &part, |who, cause, effects| {
        if let Cause::Frame { frame: Said::Message(ClientMessage::UpdatePresence { url, .. }), .. } = cause
            && who == 0
            && url.contains("/u0/120000")
        {
            let at = Timestamp::from_unix_ms(1);
            let say = PeerSay::Presence { presence: showing(u64::MAX, url) };
            let message = PeerMessage { from: id_of(0), seq: u64::MAX, sent_at: at, wants: Interest::Pages, say };
            effects.push(Effect::CallPeers { peers: vec![id_of(1)], message });
        }
    });
}

#[test]
fn a_former_friend_who_stays_on_a_screen_is_found() {
    check(Rule::StrangersGetNothing, &[(100, Step::Unfriend(0, 1))], |_, _, effects| {
        effects.retain(|effect| !matches!(effect, Effect::Send { message: ServerMessage::PresenceTimeout { .. }, .. }));
    });
}

#[test]
fn a_suspended_user_who_is_reported_online_is_found() {
    let suspend = [(100, Step::Suspend(0)), (101, Step::Evict(1)), (102, Step::Read { reader: 1, of: Some(0) })];
    check(Rule::SuspendedIsOffline, &suspend, |who, _, effects| {
        for effect in effects {
            if let Effect::AnswerPeer(answer) = effect
                && let PeerAnswer::Offline { seq, last_seen_at: Some(_), wants } = answer
                && who == 0
            {
                *answer =
                    PeerAnswer::Online { seq: *seq, presence: showing(*seq, "https://site1.com/1"), wants: *wants };
            }
        }
    });
}

#[test]
fn a_suspended_user_whose_socket_stays_is_found() {
    check(Rule::QuietShowsTheTruth, &[(100, Step::Suspend(0))], |who, _, effects| {
        if who == 0 {
            effects.retain(|effect| !matches!(effect, Effect::Close { .. }));
        }
    });
}

#[test]
fn an_invisible_user_who_is_reported_online_is_found() {
    // Bob's object has lost its memory, so it asks hers again.
    let hide =
        [(100, Step::Invisible(ALICE, true)), (101, Step::Evict(1)), (102, Step::Read { reader: 1, of: Some(0) })];
    check(Rule::InvisibleIsOffline, &hide, |who, _, effects| {
        for effect in effects {
            if let Effect::AnswerPeer(answer) = effect
                && let PeerAnswer::Offline { seq, last_seen_at: Some(_), wants } = answer
                && who == 0
            {
                *answer =
                    PeerAnswer::Online { seq: *seq, presence: showing(*seq, "https://site1.com/1"), wants: *wants };
            }
        }
    });
}

#[test]
fn an_invisible_user_whose_last_seen_time_changes_is_found() {
    let again = Step::On(Device { user: 1, number: 1 });
    let hide = [(100, Step::Invisible(ALICE, true)), (101, Step::Evict(1)), (102, again)];
    check(Rule::InvisibleIsOffline, &hide, |who, _, effects| {
        for effect in effects {
            if let Effect::AnswerPeer(PeerAnswer::Offline { last_seen_at: Some(at), .. }) = effect
                && who == 0
            {
                *at = at.plus_ms(1);
            }
        }
    });
}

#[test]
fn a_user_who_is_shown_long_after_they_left_is_found() {
    check(Rule::NoGhost, &[(100, Step::Off(ALICE, Leave::Vanish))], |who, _, effects| {
        effects.retain(|effect| {
            let bye = matches!(effect, Effect::CallPeers { message: PeerMessage { say: PeerSay::Bye { .. }, .. }, .. });
            !(who == 0 && bye)
        });
    });
}

#[test]
fn an_older_state_after_a_newer_one_is_found() {
    check(Rule::SeqNeverGoesBack, &[(100, Step::Turn(ALICE, Tab::Site(3)))], |who, _, effects| {
        if who == 1 {
            alter_shown(effects, &id_of(0), |update| {
                if update.domain == "site3.com" {
                    update.seq = 1;
                }
            });
        }
    });
}

#[test]
fn a_state_that_was_never_told_is_found() {
    check(Rule::OneSeqOneState, &[(100, Step::Turn(ALICE, Tab::Site(3)))], |who, _, effects| {
        if who == 1 {
            alter_shown(effects, &id_of(0), |update| update.title.push('!'));
        }
    });
}

#[test]
fn one_seq_for_two_states_is_found() {
    check(Rule::OneSeqOneState, &[(100, Step::Turn(ALICE, Tab::Site(3)))], |who, _, effects| {
        for effect in effects {
            if let Effect::CallPeers { message, .. } = effect
                && let PeerSay::Presence { presence } = &mut message.say
                && who == 0
            {
                message.seq = 1_772_366_440_000;
                alter(presence, |told| told.seq = 1_772_366_440_000);
            }
        }
    });
}

#[test]
fn a_message_before_the_snapshot_is_found() {
    check(Rule::SnapshotComesFirst, &[], |who, cause, effects| {
        if let Cause::Open { socket, .. } = cause {
            let gone = ServerMessage::PresenceTimeout { user_id: id_of(1 - who.min(1)), last_seen_at: None };
            effects.push(Effect::Send { sockets: vec![*socket], message: gone });
        }
    });
}

#[test]
fn a_read_without_an_answer_is_found() {
    check(Rule::EveryReaderIsAnswered, &[(100, Step::Read { reader: 1, of: None })], |_, _, effects| {
        effects.retain(|effect| !matches!(effect, Effect::Reply { .. }));
    });
}

#[test]
fn a_socket_that_never_gets_its_snapshot_is_found() {
    check(Rule::EveryReaderIsAnswered, &[], |who, _, effects| {
        effects.retain(|effect| !(who == 1 && matches!(effect, Effect::Send { .. } | Effect::Show { .. })));
    });
}

#[test]
fn a_client_that_shows_an_old_page_is_found() {
    check(Rule::QuietShowsTheTruth, &[(100, Step::Turn(ALICE, Tab::Site(3)))], |who, _, effects| {
        effects.retain(|effect| {
            let site3 = matches!(effect, Effect::Show { presence, .. } if presence.as_str().contains("site3.com"));
            !(who == 1 && site3)
        });
    });
}

#[test]
fn a_reply_that_is_not_true_is_found() {
    check(Rule::QuietShowsTheTruth, &[], |who, _, effects| {
        for effect in effects {
            if let Effect::Reply { reply: Reply::All(snapshot), .. } = effect
                && who == 0
            {
                snapshot.user_presence.idle_since = Some(Timestamp::from_unix_ms(1));
            }
        }
    });
}

#[test]
fn one_request_too_many_is_found() {
    check(Rule::RequestsPerPageChange, &[(100, Step::Turn(ALICE, Tab::Site(3)))], |who, cause, effects| {
        let again: Vec<Effect> = effects.iter().filter(|_| who == 0 && is_page(cause)).cloned().collect();
        effects.extend(again.into_iter().filter(|effect| matches!(effect, Effect::CallPeers { .. })));
    });
}

#[test]
fn page_changes_told_to_a_friend_who_does_not_watch_are_found() {
    let pages = [
        (90, Step::Watch(BOB, false)),
        (100, Step::Turn(ALICE, Tab::Site(3))),
        (110, Step::Turn(ALICE, Tab::Site(4))),
        (120, Step::Turn(ALICE, Tab::Site(5))),
    ];
    check(Rule::RequestsPerPageChange, &pages, |who, _, effects| {
        for effect in effects {
            if let Effect::AnswerPeer(PeerAnswer::Taken { wants } | PeerAnswer::Online { wants, .. }) = effect
                && who == 1
            {
                *wants = Interest::Pages;
            }
        }
    });
}

#[test]
fn friends_who_are_asked_too_often_are_found() {
    let turns: Vec<(i64, Step)> = (0..30).map(|n| (60 + n, Step::Turn(ALICE, Tab::Site(n as usize % 4)))).collect();
    check(Rule::FriendsAreAskedSeldom, &turns, |who, cause, effects| {
        if who == 0 && is_page(cause) {
            let now = Timestamp::from_unix_ms(1);
            let message =
                PeerMessage { from: id_of(0), seq: 0, sent_at: now, wants: Interest::Pages, say: PeerSay::Peek };
            effects.push(Effect::CallPeers { peers: vec![id_of(1)], message });
        }
    });
}

#[test]
fn a_row_for_a_page_change_is_found() {
    check_doctor(Rule::NoRowForAPageChange, &[], &WRITES);
}

#[test]
fn a_timer_in_an_idle_object_is_found() {
    let leave = [(100, Step::Off(ALICE, Leave::Close))];
    check_doctor(Rule::NoTimerInAnIdleObject, &leave, &EffectMutator { stray_alarms: true, ..HEALTHY });
}

#[test]
fn a_second_answer_is_found() {
    check(Rule::OneAnswer, &[(100, Step::Turn(ALICE, Tab::Site(3)))], |_, cause, effects| {
        if matches!(cause, Cause::Peer { .. }) {
            effects.push(Effect::AnswerPeer(PeerAnswer::NotFriends));
        }
    });
}
