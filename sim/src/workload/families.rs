//! The task definitions that there are, and which of them services run.

use crate::definition::{Capacity, Definition, Image};

/// All of them.
pub fn definitions() -> Vec<Definition> {
    let plain = |family: &str, image| Definition::new(family, image);
    let mut all = vec![
        plain("web", Image::Good),
        Definition { host_port: Some(8080), ..plain("port", Image::Good) },
        Definition { cpu: 1500, memory: 1500, ..plain("large", Image::Good) },
        Definition { has_check: true, ..plain("checked", Image::Good) },
        plain("brief", Image::Brief),
        plain("crashing", Image::Crashing),
        plain("unstartable", Image::Unstartable),
        Definition { has_check: true, ..plain("sick", Image::Sick) },
        plain("migration", Image::Brief),
        plain("bad-migration", Image::Crashing),
        plain("endless-migration", Image::Good),
    ];
    for (capacity, prefix) in [(Capacity::Awsvpc, "vpc"), (Capacity::Fargate, "fargate")] {
        let on = |family: &str, image| Definition::on(capacity, &format!("{prefix}-{family}"), image);
        all.push(on("web", Image::Good));
        all.push(Definition { has_check: true, ..on("checked", Image::Good) });
        all.push(on("crashing", Image::Crashing));
        all.push(on("brief", Image::Brief));
    }
    all
}

/// Those that a service runs, what works more often than what does not.
pub(super) fn of_services(capacity: Capacity) -> &'static [&'static str] {
    match capacity {
        Capacity::Bridge => {
            &["web", "web", "web", "checked", "checked", "port", "large", "crashing", "unstartable", "sick"]
        }
        Capacity::Awsvpc => &["vpc-web", "vpc-web", "vpc-checked", "vpc-crashing"],
        Capacity::Fargate => &["fargate-web", "fargate-web", "fargate-checked", "fargate-crashing"],
    }
}

/// What hooks of such a service run: it ends well, it ends badly, it does not end.
pub(super) fn of_hooks(capacity: Capacity) -> [&'static str; 3] {
    match capacity {
        Capacity::Bridge | Capacity::Awsvpc => ["migration", "bad-migration", "endless-migration"],
        Capacity::Fargate => ["fargate-brief", "fargate-crashing", "fargate-web"],
    }
}

/// The one that always works.
pub(super) fn sound(capacity: Capacity) -> &'static str {
    match capacity {
        Capacity::Bridge => "checked",
        Capacity::Awsvpc => "vpc-checked",
        Capacity::Fargate => "fargate-checked",
    }
}
