//! Storing tasks: many submissions in one transaction.
//!
//! What is new for all that anybody knows is written without a look: a unique index, or the template
//! that is not there, refuses the whole statement, and then everything is looked up and planned
//! (`plan`).

mod columns;
mod nodes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

use self::columns::Rows;
pub(super) use self::columns::{InBatch, bytes_of};
pub(super) use self::nodes::NodeRow;
use super::call::Call;
use super::counters;
use super::fault::{Fault, Kind, get};
use super::params::{Raw, params};
use super::plan::{Earlier, Known, TenantKey};
use super::quotas::Quotas;
use super::templates;
use super::tx::{Mode, Tx};
use crate::rows::{KeptTemplates, Template, tenant_of};
use crate::turns::lane_of;
use crate::{Bounds, Inserted, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{NewTask, TaskId};
use cofferdam_domain::time::Timestamp;

/// Whosever they are: an id is one task's alone.
const BY_ID: &str = "SELECT id, fingerprint, tenant FROM cofferdam.tasks_of_ids($1::uuid[])";
const BY_KEY: &str = "
    SELECT s.idempotency_key, s.tenant, s.id, s.fingerprint
    FROM unnest($1::bytea[], $2::text[]) AS w(key, tenant)
    JOIN cofferdam.task_spec s ON s.idempotency_key = w.key AND s.tenant = w.tenant";
/// Those whose task was removed hold nothing, but are in the way of the next.
const HOLDERS: &str = "
    SELECT d.key, d.tenant, d.task_id, d.expires_at, s.id IS NOT NULL
    FROM unnest($1::bytea[], $2::text[]) AS w(key, tenant)
    JOIN cofferdam.dedup d ON d.key = w.key AND d.tenant = w.tenant
    LEFT JOIN cofferdam.task_spec s ON s.id = d.task_id AND s.tenant = d.tenant";
/// Takes over only from holders that were seen; whoever came in between is in nobody's list.
const HOLD: &str = "
    INSERT INTO cofferdam.dedup AS d (key, tenant, task_id, expires_at)
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::uuid[], $4::int8[])
    ON CONFLICT (key, tenant) DO UPDATE SET task_id = excluded.task_id,
        expires_at = excluded.expires_at
    WHERE d.task_id = ANY($5::uuid[]) RETURNING 1";

/// What one call wants to be stored.
pub(super) struct Submission {
    pub(super) tasks: Vec<NewTask>,
    pub(super) bounds: Bounds,
    pub(super) now: Timestamp,
}

/// What each submission is told.
pub(super) type Answers = Vec<Result<Vec<Inserted>, StorageError>>;

/// Stores the submissions, each all or none.
pub(super) async fn insert(call: &Call, submissions: &[Submission]) -> Result<Answers, Fault> {
    match at_once_or_planned(call, submissions).await {
        // Whoever finds its own task has stored it in the try that was not answered.
        Err(fault) if matches!(fault.error, StorageError::Unknown(_)) => {
            let mut answers = planned(call, submissions).await?;
            for (submission, answer) in submissions.iter().zip(&mut answers) {
                answer
                    .iter_mut()
                    .for_each(|told| as_if_new(submission, told));
            }
            Ok(answers)
        }
        Err(fault) if fault.may_concern_one() && submissions.len() > 1 => {
            one_by_one(call, submissions).await
        }
        done => done,
    }
}

async fn at_once_or_planned(call: &Call, submissions: &[Submission]) -> Result<Answers, Fault> {
    let each: Vec<&Submission> = submissions.iter().collect();
    if let Some(templates) = all_new(call, &each) {
        match at_once(call, submissions, &templates).await {
            Err(fault) if fault.kind == Kind::Taken => {}
            done => return done,
        }
    }
    planned(call, submissions).await
}

async fn one_by_one(call: &Call, submissions: &[Submission]) -> Result<Answers, Fault> {
    let mut answers = Vec::with_capacity(submissions.len());
    for submission in submissions {
        match planned(call, std::slice::from_ref(submission)).await {
            Ok(told) => answers.extend(told),
            Err(fault) => answers.push(Err(fault.error)),
        }
    }
    Ok(answers)
}

fn as_if_new(submission: &Submission, told: &mut [Inserted]) {
    for (task, told) in submission.tasks.iter().zip(told) {
        if *told == Inserted::Repeated(task.id) {
            *told = Inserted::New;
        }
    }
}

/// The template of each task in turn, if nothing that is known here speaks against storing them all.
fn all_new(call: &Call, submissions: &[&Submission]) -> Option<Vec<Arc<Template>>> {
    let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
    let mut templates = Vec::new();
    if submissions.iter().any(|one| !one.bounds.tenant.is_none()) {
        return None;
    }
    for task in submissions.iter().flat_map(|submission| &submission.tasks) {
        let is_new = ids.insert(task.id)
            && task.dedup.is_none()
            && task
                .idempotency_key
                .as_ref()
                .is_none_or(|key| keys.insert((&task.tenant, key)));
        if !is_new {
            return None;
        }
        templates.push(call.db.templates().of_spec(&task.tenant, &task.spec)?);
    }
    let pending_max = submissions
        .iter()
        .map(|submission| submission.bounds.pending_max)
        .min()?;
    let more = u64::try_from(templates.len()).unwrap_or(u64::MAX);
    call.db
        .waiting
        .has_room(more, pending_max)
        .then_some(templates)
}

async fn at_once(
    call: &Call,
    submissions: &[Submission],
    templates: &[Arc<Template>],
) -> Result<Answers, Fault> {
    let mut rows = Rows::default();
    let tasks = submissions.iter().flat_map(|submission| {
        let now = submission.now;
        submission.tasks.iter().map(move |task| (task, now))
    });
    for ((task, now), template) in tasks.zip(templates) {
        let lane = lane_of(&call.db.rules, template.name, template.class);
        rows.push(task, template, lane, now)?;
    }
    let mut tx = call.begin(Mode::Referring).await?;
    rows.write(&mut tx);
    tx.commit().await?;
    let all = |submission: &Submission| Ok(vec![Inserted::New; submission.tasks.len()]);
    Ok(submissions.iter().map(all).collect())
}

/// Looks everything up, and then writes what is to be written.
async fn planned(call: &Call, submissions: &[Submission]) -> Result<Answers, Fault> {
    let mut tx = call.begin(Mode::Referring).await?;
    let mut plan = plan(&mut tx, submissions, None).await?;
    if plan.rows.is_empty() {
        tx.rollback().await?;
    } else {
        write(&mut tx, &mut plan).await?;
        match tx.commit().await {
            // Somebody else was faster.
            Err(fault) if fault.kind == Kind::Taken => {
                call.db.templates().clear();
                return Err(Fault::again("what was free a moment ago is taken"));
            }
            done => done?,
        }
    }
    Ok(learn(call, plan))
}

/// What becomes of submissions, and what is to be written for that.
pub(super) struct Plan {
    pub(super) answers: Answers,
    rows: Rows,
    held: Held,
    stale: Vec<Uuid>,
    templates: Vec<Option<Arc<Template>>>,
    waiting: u64,
}

/// Looks everything up and decides. The tasks are of `batch` if there is one.
pub(super) async fn plan(
    tx: &mut Tx,
    submissions: &[Submission],
    batch: Option<InBatch>,
) -> Result<Plan, Fault> {
    let bounded = submissions
        .iter()
        .filter(|one| !one.bounds.tenant.is_none());
    let tenants = bounded.filter_map(|one| one.tasks.first());
    let quotas = Quotas::locked(tx, tenants.map(|task| &task.tenant)).await?;
    let (mut known, stale) = look_up(tx, submissions).await?;
    known.quotas = quotas;
    let templates = find_templates(tx, submissions, &mut known).await?;
    let (mut rows, mut held) = (Rows::of_batch(batch), Held::new());
    let mut answers = Vec::with_capacity(submissions.len());
    let mut templates_left = &templates[..];
    for submission in submissions {
        let (own, others) = templates_left.split_at(submission.tasks.len());
        templates_left = others;
        let planned = known.plan(&submission.tasks, submission.bounds, submission.now);
        for (place, told) in planned.iter().flatten().enumerate() {
            if let (Inserted::New, Some(template)) = (told, &own[place]) {
                let task = &submission.tasks[place];
                let lane = lane_of(&tx.call().db.rules, template.name, template.class);
                rows.push(task, template, lane, submission.now)?;
                if let Some(dedup) = &task.dedup {
                    let until = submission.now.plus(dedup.window);
                    let key = (task.tenant.clone(), dedup.key.clone());
                    held.insert(key, (task.id, until));
                }
            }
        }
        answers.push(planned);
    }
    Ok(Plan {
        answers,
        rows,
        held,
        stale,
        templates,
        waiting: known.waiting,
    })
}

/// Writes what was planned, with the commit.
pub(super) async fn write(tx: &mut Tx, plan: &mut Plan) -> Result<(), Fault> {
    hold(
        tx,
        std::mem::take(&mut plan.held),
        std::mem::take(&mut plan.stale),
    )
    .await?;
    std::mem::take(&mut plan.rows).write(tx);
    Ok(())
}

/// Writes what was planned as the tasks of nodes, with the commit.
pub(super) fn write_nodes(
    tx: &mut Tx,
    plan: &mut Plan,
    nodes: &[&NodeRow],
) -> Result<(), StorageError> {
    std::mem::take(&mut plan.rows).write_nodes(tx, nodes)
}

/// Writes new tasks as those of nodes, with the commit, if nothing that is known here speaks against storing
/// them; false if something may.
pub(super) fn write_new_nodes(
    tx: &mut Tx,
    submissions: &[&Submission],
    nodes: &[&NodeRow],
) -> Result<bool, StorageError> {
    let call = tx.call().clone();
    let Some(templates) = all_new(&call, submissions) else {
        return Ok(false);
    };
    let mut rows = Rows::default();
    let tasks = submissions.iter();
    let tasks = tasks.flat_map(|one| one.tasks.iter().map(|task| (task, one.now)));
    for ((task, now), template) in tasks.zip(&templates) {
        let lane = lane_of(&call.db.rules, template.name, template.class);
        rows.push(task, template, lane, now)?;
    }
    rows.write_nodes(tx, nodes)?;
    Ok(true)
}

/// Notes what a plan found out, once that is committed; gives the answers.
pub(super) fn learn(call: &Call, plan: Plan) -> Answers {
    call.db.waiting.learned(plan.waiting);
    keep(call, plan.templates);
    plan.answers
}

/// What the database knows of what the submissions name, and the tasks whose dedup keys are free by
/// now.
async fn look_up(tx: &mut Tx, submissions: &[Submission]) -> Result<(Known, Vec<Uuid>), Fault> {
    let mut known = Known::default();
    let tasks = || submissions.iter().flat_map(|submission| &submission.tasks);
    let ids: Vec<Uuid> = tasks().map(|task| task.id.0).collect();
    for row in tx.query(BY_ID, params![ids]).await? {
        let earlier = Earlier {
            id: TaskId(get(&row, 0)?),
            fingerprint: fingerprint_of(&row, 1)?,
            tenant: tenant_of(get(&row, 2)?)?,
        };
        known.by_id.insert(earlier.id, earlier);
    }
    let keys = tasks().filter_map(|task| Some((&task.tenant, task.idempotency_key.as_deref()?)));
    let (tenants, keys) = columns_of(keys);
    if !keys.is_empty() {
        for row in tx.query(BY_KEY, params![keys, tenants]).await? {
            let key = key_of(&row)?;
            let earlier = Earlier {
                id: TaskId(get(&row, 2)?),
                fingerprint: fingerprint_of(&row, 3)?,
                tenant: key.0.clone(),
            };
            known.by_key.insert(key, earlier);
        }
    }
    let mut stale = Vec::new();
    let keys = tasks().filter_map(|task| Some((&task.tenant, &*task.dedup.as_ref()?.key)));
    let (tenants, keys) = columns_of(keys);
    if !keys.is_empty() {
        for row in tx.query(HOLDERS, params![keys, tenants]).await? {
            let (holder, until): (Uuid, i64) = (get(&row, 2)?, get(&row, 3)?);
            stale.push(holder);
            if get(&row, 4)? {
                let holder = (TaskId(holder), Timestamp::from_millis(until));
                known.holders.insert(key_of(&row)?, holder);
            }
        }
    }
    known.waiting = counters::waiting(tx).await?;
    Ok((known, stale))
}

fn key(text: &str) -> Raw {
    Raw::copy(text.as_bytes())
}

/// The tenants of keys, and the keys.
fn columns_of<'k>(keys: impl Iterator<Item = (&'k Tenant, &'k str)>) -> (Vec<String>, Vec<Raw>) {
    keys.map(|(tenant, text)| (tenant.as_str().to_owned(), key(text)))
        .unzip()
}

/// A key and whose it is, from the first two columns.
fn key_of(row: &Row) -> Result<TenantKey, StorageError> {
    let key = String::from_utf8(get(row, 0)?).map_err(StorageError::corrupt)?;
    Ok((tenant_of(get(row, 1)?)?, key))
}

fn fingerprint_of(row: &Row, place: usize) -> Result<[u8; 16], StorageError> {
    <[u8; 16]>::try_from(get::<&[u8]>(row, place)?).map_err(StorageError::corrupt)
}

/// The template of each task in turn; none where the version is not kept.
async fn find_templates(
    tx: &mut Tx,
    submissions: &[Submission],
    known: &mut Known,
) -> Result<Vec<Option<Arc<Template>>>, Fault> {
    let mut found: Vec<Option<Arc<Template>>> = Vec::new();
    let mut others = KeptTemplates::default();
    for task in submissions.iter().flat_map(|submission| &submission.tasks) {
        if known.gone.contains(&task.spec.digest) {
            found.push(None);
            continue;
        }
        if let Some(template) = others.of_spec(&task.tenant, &task.spec) {
            found.push(Some(template));
            continue;
        }
        match templates::of_spec(tx, &task.tenant, &task.spec).await {
            Ok(template) => found.push(Some(others.keep(template))),
            Err(Fault {
                error: StorageError::ModuleGone(digest),
                ..
            }) => {
                known.gone.insert(digest);
                found.push(None);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(found)
}

/// Keeps copies of templates that are committed.
fn keep(call: &Call, templates: Vec<Option<Arc<Template>>>) {
    let mut kept = call.db.templates();
    for template in templates.into_iter().flatten() {
        if kept.get(template.id).is_none() {
            kept.keep(template);
        }
    }
}

/// Dedup keys that new tasks hold, and until when.
type Held = HashMap<TenantKey, (TaskId, Timestamp)>;

async fn hold(tx: &mut Tx, held: Held, stale: Vec<Uuid>) -> Result<(), Fault> {
    if held.is_empty() {
        return Ok(());
    }
    let wanted = held.len();
    let (tenants, keys) = columns_of(held.keys().map(|(tenant, text)| (tenant, &**text)));
    let ids: Vec<Uuid> = held.values().map(|(id, _)| id.0).collect();
    let until: Vec<i64> = held.values().map(|(_, until)| until.as_millis()).collect();
    let hold = params![keys, tenants, ids, until, stale];
    let taken = tx.query(HOLD, hold).await?;
    match taken.len() == wanted {
        true => Ok(()),
        false => Err(Fault::again("somebody else took a dedup key")),
    }
}
