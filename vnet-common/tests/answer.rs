//! The budget of answers: a burst, then one for each share of time, and never more.

use vnet_common::answer::{Budget, Limit};

#[test]
fn a_burst_and_then_one_at_a_time() {
    let limit = Limit { share: 10, burst: 3 };
    let mut budget = Budget::default();
    let mut answered = |now| match limit.spend(budget, now) {
        Some(left) => {
            budget = left;
            true
        }
        None => false,
    };
    let now = 1000;
    assert_eq!(
        [answered(now), answered(now), answered(now), answered(now)],
        [true, true, true, false]
    );
    assert_eq!([answered(now + 9), answered(now + 10), answered(now + 10)], [false, true, false]);
    // After a long silence there is one burst, not more.
    let later = 100_000;
    let given = (0..10).filter(|_| answered(later)).count();
    assert_eq!(given, 3);
}

#[test]
fn over_a_long_time_it_is_the_rate() {
    let mut budget = Budget::default();
    let mut given = 0;
    for now in (0..100_000_000_000).step_by(50_000_000) {
        if let Some(left) = Limit::EACH.spend(budget, now) {
            (budget, given) = (left, given + 1);
        }
    }
    assert_eq!(given, 100 + Limit::EACH.burst - 1, "answers in 100 seconds of 20 refusals each");
}
