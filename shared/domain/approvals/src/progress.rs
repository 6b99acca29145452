//! How far the approvals of a request bring it: the rules alone.

use crate::request::{Decider, RequestStep, StepState};
use crate::step::Kind;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What an approval brings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The steps that change, by `seq`.
    pub changed: Vec<(i32, StepState)>,
    pub next: Next,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The stage needs more approvals.
    Waits,
    /// The next stage opens.
    Opens,
    /// There is no further stage.
    Done,
}

/// What the open stage becomes when these users, and nobody else, have approved these steps.
///
/// A flat or sequential step needs one approval. A parallel step needs its quorum, or all whom it
/// names today; who it was escalated to can give it alone. A stage needs all of its steps; a flat
/// one needs any.
pub(crate) fn after(steps: &[RequestStep], approvals: &[(i32, Uuid)], deciders: &[Decider]) -> Progress {
    let open: Vec<&RequestStep> = steps
        .iter()
        .filter(|step| step.state == StepState::Open)
        .collect();
    let approved = |step: &RequestStep| is_approved(step, approvals, deciders);
    let complete = match open.first() {
        Some(first) if first.kind == Kind::Flat => open.iter().any(|step| approved(step)),
        Some(_) => open.iter().all(|step| approved(step)),
        None => false,
    };
    if !complete {
        return Progress {
            changed: Vec::new(),
            next: Next::Waits,
        };
    }
    let closed = open.iter().map(|step| {
        let state = if approved(step) {
            StepState::Approved
        } else {
            StepState::Skipped
        };
        (step.seq, state)
    });
    let waiting = || steps.iter().filter(|step| step.state == StepState::Waiting);
    let stage = waiting().map(|step| step.stage).min();
    let opened = waiting()
        .filter(|step| Some(step.stage) == stage)
        .map(|step| (step.seq, StepState::Open));
    Progress {
        changed: closed.chain(opened).collect(),
        next: if stage.is_some() { Next::Opens } else { Next::Done },
    }
}

fn is_approved(step: &RequestStep, approvals: &[(i32, Uuid)], deciders: &[Decider]) -> bool {
    let given: BTreeSet<Uuid> = approvals
        .iter()
        .filter(|(seq, _)| *seq == step.seq)
        .map(|(_, user)| *user)
        .collect();
    if given.is_empty() || step.kind != Kind::Parallel {
        return !given.is_empty();
    }
    let of_step = || deciders.iter().filter(|decider| decider.step_seq == step.seq);
    let quorum = step.quorum.and_then(|quorum| usize::try_from(quorum).ok());
    quorum.is_some_and(|quorum| given.len() >= quorum)
        || of_step()
            .filter(|decider| !decider.escalated)
            .all(|decider| given.contains(&decider.user_id))
        || of_step().any(|decider| decider.escalated && given.contains(&decider.user_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::ApproverMode;

    fn user(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn step(seq: i32, stage: i32, kind: Kind, state: StepState) -> RequestStep {
        RequestStep {
            seq,
            stage,
            policy_id: Uuid::nil(),
            policy_name: String::new(),
            kind,
            approver_mode: ApproverMode::Role,
            approver_ref: String::new(),
            quorum: None,
            self_approval_allowed: false,
            sla_hours: None,
            state,
            opened_at: None,
            due_at: None,
            reminded_at: None,
            escalated_at: None,
            decided_at: None,
        }
    }

    fn may(step_seq: i32, users: &[u128]) -> Vec<Decider> {
        let one = |n: &u128| Decider {
            step_seq,
            user_id: user(*n),
            escalated: false,
        };
        users.iter().map(one).collect()
    }

    #[test]
    fn one_of_the_flat_steps_is_enough_and_the_rest_is_skipped() {
        let steps = [
            step(1, 1, Kind::Flat, StepState::Open),
            step(2, 1, Kind::Flat, StepState::Open),
            step(3, 2, Kind::Sequential, StepState::Waiting),
            step(4, 3, Kind::Sequential, StepState::Waiting),
        ];
        let progress = after(&steps, &[(2, user(1))], &may(2, &[1, 2]));
        let changed = vec![
            (1, StepState::Skipped),
            (2, StepState::Approved),
            (3, StepState::Open),
        ];
        assert_eq!(
            progress,
            Progress {
                changed,
                next: Next::Opens
            }
        );
    }

    #[test]
    fn parallel_steps_need_everybody_of_every_step() {
        let steps = [
            step(1, 1, Kind::Parallel, StepState::Open),
            step(2, 1, Kind::Parallel, StepState::Open),
        ];
        let deciders = [may(1, &[1, 2]), may(2, &[3])].concat();
        let next = |approvals: &[(i32, Uuid)]| after(&steps, approvals, &deciders).next;
        assert_eq!(next(&[]), Next::Waits);
        assert_eq!(next(&[(1, user(1)), (2, user(3))]), Next::Waits);
        assert_eq!(next(&[(1, user(1)), (1, user(2))]), Next::Waits);
        assert_eq!(next(&[(1, user(1)), (1, user(2)), (2, user(3))]), Next::Done);
        // who has left since is not waited for
        assert_eq!(
            after(
                &steps,
                &[(1, user(1)), (2, user(3))],
                &[may(1, &[1]), may(2, &[3])].concat()
            )
            .next,
            Next::Done
        );
    }

    #[test]
    fn a_quorum_or_whom_it_was_escalated_to_is_enough_for_a_parallel_step() {
        let mut two = step(1, 1, Kind::Parallel, StepState::Open);
        two.quorum = Some(2);
        let deciders = may(1, &[1, 2, 3]);
        let next = |step: &RequestStep, approvals: &[(i32, Uuid)], deciders: &[Decider]| {
            after(std::slice::from_ref(step), approvals, deciders).next
        };
        assert_eq!(next(&two, &[(1, user(1))], &deciders), Next::Waits);
        assert_eq!(next(&two, &[(1, user(1)), (1, user(3))], &deciders), Next::Done);
        let all = step(1, 1, Kind::Parallel, StepState::Open);
        let mut late = deciders;
        late.push(Decider {
            step_seq: 1,
            user_id: user(9),
            escalated: true,
        });
        assert_eq!(next(&all, &[(1, user(1))], &late), Next::Waits);
        assert_eq!(next(&all, &[(1, user(9))], &late), Next::Done);
    }

    #[test]
    fn nothing_moves_without_an_approval() {
        for kind in [Kind::Flat, Kind::Sequential, Kind::Parallel] {
            let steps = [step(1, 1, kind, StepState::Open)];
            assert_eq!(after(&steps, &[], &[]).next, Next::Waits, "{kind:?}");
            assert_eq!(after(&steps, &[(2, user(1))], &[]).next, Next::Waits, "{kind:?}");
        }
    }
}
