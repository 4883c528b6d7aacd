//! A ranking that was kept places as one does that is made on the spot.

use std::collections::BTreeMap;
use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_planning::lifecycle::DesiredStatus;
use estiva_planning::placement::Lack;
use estiva_schema::json as codec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::container_instance::table::{ContainerInstanceRow, ContainerInstanceStatus};
use crate::container_instance::tests::bench::{Bench, offer, owner};
use crate::scope::Scope;
use crate::task::constraint::Constraints;
use crate::task::launch::{Launch, Wishes};
use crate::task::placement::{Placeable, Placer};
use crate::task::strategy;
use crate::task::table::TaskRow;
use crate::task_definition::reference;

/// What happens to a cluster; indices are taken modulo how many there are.
#[derive(Debug, Clone)]
enum Event {
    Join { rack: u8 },
    Connect { instance: usize, connected: bool },
    Status { instance: usize, is_draining: bool },
    Deregister { instance: usize },
    Rack { instance: usize, rack: u8 },
    Run { kind: usize, count: u8 },
    Stop { task: usize },
    Obey,
}

fn events() -> impl Strategy<Value = Event> {
    let at = || 0..20_usize;
    prop_oneof![
        3 => (0..3_u8).prop_map(|rack| Event::Join { rack }),
        1 => (at(), any::<bool>()).prop_map(|(instance, connected)| Event::Connect { instance, connected }),
        1 => (at(), any::<bool>()).prop_map(|(instance, is_draining)| Event::Status { instance, is_draining }),
        1 => at().prop_map(|instance| Event::Deregister { instance }),
        1 => (at(), 0..3_u8).prop_map(|(instance, rack)| Event::Rack { instance, rack }),
        4 => (0..KINDS.len(), 1..5_u8).prop_map(|(kind, count)| Event::Run { kind, count }),
        3 => at().prop_map(|task| Event::Stop { task }),
        2 => Just(Event::Obey),
    ]
}

/// Task definition, group, placement strategies and constraints; no two candidates are equal, for no two instances have as much
/// memory.
const KINDS: [(&str, &str, &str, &str); 6] = [
    ("plain", "one", BINPACK, "[]"),
    ("plain", "two", r#"[{"type":"spread","field":"instanceId"},{"type":"binpack","field":"memory"}]"#, "[]"),
    ("plain", "two", BINPACK, r#"[{"type":"distinctInstance"}]"#),
    ("plain", "two", BINPACK, r#"[{"type":"memberOf","expression":"attribute:rack in [r0, r1]"}]"#),
    ("port", "two", BINPACK, "[]"),
    ("eni", "one", BINPACK, "[]"),
];
const BINPACK: &str = r#"[{"type":"binpack","field":"memory"}]"#;
/// Of the racks some may be equal.
const OVER_RACKS: (&str, &str, &str, &str) =
    ("plain", "two", r#"[{"type":"spread","field":"attribute:rack"},{"type":"binpack","field":"memory"}]"#, "[]");

/// What RunTask is asked.
fn input((definition, group, strategies, constraints): (&str, &str, &str, &str), count: usize) -> Value {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let network = json!({ "awsvpcConfiguration": { "subnets": ["subnet-1"] } });
    json!({
        "taskDefinition": definition,
        "group": group,
        "count": count,
        "placementStrategy": parsed(strategies),
        "placementConstraints": parsed(constraints),
        "networkConfiguration": if definition == "eni" { network } else { Value::Null },
    })
}

/// The instances that tasks went to, one by one, and what the others lack.
type Placed = (Vec<String>, Vec<(String, Lack)>);

/// How many tasks the chosen rack has, if one was chosen, and what instances lack.
type OfRack = (Option<usize>, Vec<(String, Lack)>);

struct World {
    bench: Bench,
    instances: Vec<String>,
}

impl World {
    async fn new() -> Self {
        let bench = Bench::new();
        bench.create_cluster(&owner(), json!({})).await.unwrap();
        bench.define("plain", json!({ "memory": 100 }), json!({})).await;
        let port = json!({ "memory": 100, "portMappings": [{ "containerPort": 80, "hostPort": 80 }] });
        bench.define("port", port, json!({})).await;
        bench.define("eni", json!({ "memory": 100 }), json!({ "networkMode": "awsvpc" })).await;
        Self { bench, instances: Vec::new() }
    }

    async fn happens(&mut self, event: &Event) {
        let bench = &self.bench;
        let instance = |index: usize| self.instances.get(index % self.instances.len().max(1));
        // What a deregistered one is asked is refused.
        match event {
            Event::Join { rack } => {
                let name = format!("n{}", self.instances.len());
                let mut more = offer(&name);
                more["totalResources"][1]["integerValue"] = json!(400 + self.instances.len());
                more["attributes"].as_array_mut().unwrap().push(json!({ "name": "rack", "value": format!("r{rack}") }));
                let arn = bench.join(&name, more).await;
                self.instances.push(arn);
            }
            Event::Connect { instance: index, connected } => {
                if let Some(arn) = instance(*index) {
                    bench.connect(arn, *connected).await;
                }
            }
            Event::Status { instance: index, is_draining } => {
                if let Some(arn) = instance(*index) {
                    let status = if *is_draining { "DRAINING" } else { "ACTIVE" };
                    let input = json!({ "containerInstances": [arn], "status": status });
                    let _ = bench.update_container_instances_state(&owner(), input).await;
                }
            }
            Event::Deregister { instance: index } => {
                if let Some(arn) = instance(*index) {
                    let _ = bench
                        .deregister_container_instance(&owner(), json!({ "containerInstance": arn, "force": true }))
                        .await;
                }
            }
            Event::Rack { instance: index, rack } => {
                if let Some(arn) = instance(*index) {
                    let attribute = json!({ "name": "rack", "value": format!("r{rack}"), "targetId": arn });
                    let _ = bench.put_attributes(&owner(), json!({ "attributes": [attribute] })).await;
                }
            }
            Event::Run { kind, count } => {
                // Without an instance it is refused.
                let _ = bench.run_task(&owner(), input(KINDS[*kind], usize::from(*count))).await;
            }
            Event::Stop { task } => {
                let tasks: Vec<_> = bench.ecs.store.view().scan::<TaskRow>("").collect();
                if !tasks.is_empty() {
                    let arn = tasks[task % tasks.len()].arn();
                    bench.stop_task(&owner(), json!({ "task": arn })).await.unwrap();
                }
            }
            Event::Obey => bench.obey().await,
        }
    }

    /// Where tasks would go, and why no more of them; `None` if there is no instance. The transaction is given up.
    async fn placed(&self, placer: &Placer, input: &Value) -> Option<Placed> {
        let input: api::RunTaskRequest = codec::from_value(input).unwrap();
        let strategies = strategy::parse(input.placement_strategy.as_deref()).unwrap();
        let constraints = Constraints::parse(input.placement_constraints.as_deref(), None).unwrap();
        let mut found = None;
        let given_up = self.bench.ecs.store.update(|tx| {
            let scope = Scope::of(&owner());
            let definition = reference::active(tx, &scope, &input.task_definition)?;
            let wishes = Wishes { group: input.group, network: input.network_configuration, ..Wishes::default() };
            let launch = Launch::new(scope, "default".to_owned(), definition, wishes)?;
            let what = Placeable { launch: &launch, constraints: &constraints, strategies: &strategies };
            found = placer.make(tx, &what, usize::try_from(input.count.unwrap()).unwrap()).map(|made| {
                let chosen = made.tasks.iter().map(|task| task.container_instance.clone()).collect();
                let mut lacking: Vec<_> = made.lacking.iter().map(|(row, lack)| (row.id.clone(), *lack)).collect();
                lacking.sort();
                (chosen, lacking)
            });
            Err::<(), _>(Error::client_exception("it was only asked"))
        });
        given_up.await.unwrap_err();
        found
    }

    fn tasks_of_the_rack(&self, placed: Option<Placed>, group: &str) -> Option<OfRack> {
        let (chosen, lacking) = placed?;
        let view = self.bench.ecs.store.view();
        let racks: BTreeMap<String, String> = view
            .scan::<ContainerInstanceRow>("")
            .filter(|row| row.status == ContainerInstanceStatus::Active)
            .map(|row| (row.id.clone(), row.attribute("rack").unwrap().to_owned()))
            .collect();
        let tasks = |rack: &String| {
            let tasks = view.scan::<TaskRow>("");
            let of_group = tasks.filter(|task| task.group == group && task.desired_status == DesiredStatus::Running);
            of_group.filter(|task| racks.get(&task.container_instance) == Some(rack)).count()
        };
        Some((chosen.first().map(|id| tasks(&racks[id])), lacking))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_kept_ranking_places_as_a_new_one_does(events in prop::collection::vec(events(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            let kept = Arc::clone(&world.bench.ecs.placer);
            for event in &events {
                world.happens(event).await;
                for kind in KINDS {
                    let input = input(kind, 3);
                    let afresh = Placer::new(world.bench.ecs.ambient.clone());
                    assert_eq!(world.placed(&kept, &input).await, world.placed(&afresh, &input).await, "{kind:?}");
                }
                // Which of equal racks is chosen is chance.
                let afresh = Placer::new(world.bench.ecs.ambient.clone());
                let input = input(OVER_RACKS, 1);
                let [of_kept, of_new] = [world.placed(&kept, &input).await, world.placed(&afresh, &input).await]
                    .map(|placed| world.tasks_of_the_rack(placed, OVER_RACKS.1));
                assert_eq!(of_kept, of_new);
            }
        });
    }
}
