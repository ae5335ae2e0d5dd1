//! Flat rows as the values of the statements that write them.

use punctual_core::record::{
    CalendarRow, ExecutionRow, HistoryRow, JobRow, NodeRow, PayloadRow, SetRow, TriggerRow,
};

use crate::query::{Value, values};

/// A row as the values of the statement that writes it, in the order of its fields.
pub(crate) trait IntoValues {
    fn into_values(self) -> Vec<Value>;
}

impl IntoValues for JobRow {
    fn into_values(self) -> Vec<Value> {
        let Self { id, group_name, name, kind, description, spec, payload, .. } = self;
        let Self { priority, durable, set_name, rev, created_us, slot_key, slot_limit, .. } = self;
        let PayloadRow { codec, version, data } = payload;
        values![
            id,
            group_name,
            name,
            kind,
            description,
            spec,
            codec,
            version,
            data,
            priority,
            durable,
            set_name,
            rev,
            created_us,
            slot_key,
            slot_limit
        ]
    }
}

impl IntoValues for TriggerRow {
    fn into_values(self) -> Vec<Value> {
        let Self { id, group_name, name, job_id, description, spec, payload, priority, state, .. } = self;
        let Self { next_fire_us, wake_us, last_us, fires, fire_seq, generation, rev, slice, .. } = self;
        let Self { error, set_name, hash, created_us, progress, calendar, paused, .. } = self;
        let PayloadRow { codec, version, data } = payload;
        values![
            id,
            group_name,
            name,
            job_id,
            description,
            spec,
            codec,
            version,
            data,
            priority,
            state,
            next_fire_us,
            wake_us,
            last_us,
            fires,
            fire_seq,
            generation,
            rev,
            slice,
            error,
            set_name,
            hash,
            created_us,
            progress,
            calendar,
            paused
        ]
    }
}

impl IntoValues for ExecutionRow {
    fn into_values(self) -> Vec<Value> {
        let Self { id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, .. } = self;
        let Self { priority, state, owner, fence, attempt, losses, wake_us, slot_key, slot_limit, .. } = self;
        let Self { spec, payload, attempts, cancel, error, created_us, catch_up, .. } = self;
        let PayloadRow { codec, version, data } = payload;
        values![
            id,
            trigger_id,
            generation,
            trigger_key,
            job_id,
            job_key,
            kind,
            scheduled_us,
            priority,
            state,
            owner,
            fence,
            attempt,
            losses,
            wake_us,
            slot_key,
            slot_limit,
            spec,
            codec,
            version,
            data,
            attempts,
            cancel,
            error,
            created_us,
            catch_up
        ]
    }
}

impl IntoValues for HistoryRow {
    fn into_values(self) -> Vec<Value> {
        let Self { id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, .. } = self;
        let Self { until_us, instants, outcome, reason, attempt, node_id, fence, started_us, .. } = self;
        let Self { ended_us, error, output, attempts, .. } = self;
        values![
            id,
            trigger_id,
            generation,
            trigger_key,
            job_id,
            job_key,
            kind,
            scheduled_us,
            until_us,
            instants,
            outcome,
            reason,
            attempt,
            node_id,
            fence,
            started_us,
            ended_us,
            error,
            output,
            attempts
        ]
    }
}

impl IntoValues for NodeRow {
    fn into_values(self) -> Vec<Value> {
        let Self { id, name, host, pid, version, zone_data, profile, capacity, kinds, .. } = self;
        let Self { state, standby, gate, joined_us, .. } = self;
        values![
            id, name, host, pid, version, zone_data, profile, capacity, kinds, state, standby, gate,
            joined_us
        ]
    }
}

impl IntoValues for CalendarRow {
    fn into_values(self) -> Vec<Value> {
        let Self { name, document, rev, updated_us } = self;
        values![name, document, rev, updated_us]
    }
}

impl IntoValues for SetRow {
    fn into_values(self) -> Vec<Value> {
        let Self { name, revision, hash, written_by, rev, written_us } = self;
        values![name, revision, hash, written_by, rev, written_us]
    }
}
