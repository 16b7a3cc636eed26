//! The steps of a run, drawn from its seed.

use crate::{
    clients, core, faults, moments,
    steps::{Planned, Setting},
};

/// Draws all steps, sorted by time.
pub fn draw(setting: &Setting) -> Vec<Planned> {
    let mut steps = Vec::new();
    for user in 0..setting.users {
        clients::draw(setting, user, setting.busy_ms(), &mut steps);
        core::draw(setting, user, setting.busy_ms(), &mut steps);
    }
    if setting.faults {
        faults::draw(setting, setting.busy_ms(), &mut steps);
        moments::draw(setting, setting.busy_ms(), &mut steps);
    }
    setting.place(&mut steps);
    steps
}
