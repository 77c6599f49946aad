//! The black-box suite against this plugin and against the reference plugins (Debian's containernetworking-plugins:
//! macvlan with host-local). That the same suite passes against both proves the suite.

mod rig;

macro_rules! suite {
    ($($case:ident),+ $(,)?) => {
        mod ours {
            $(#[test] fn $case() { crate::rig::suite::$case(crate::rig::Who::Ours); })+
        }
        mod reference {
            $(#[test] fn $case() { crate::rig::suite::$case(crate::rig::Who::Reference); })+
        }
    };
}

suite!(
    results,
    add_twice,
    the_name_is_taken,
    del_whatever_is_left,
    at_once,
    addresses_asked_for,
    ranges_and_routes,
    two_links,
    check,
    bad_requests,
    versions,
    chain,
);
