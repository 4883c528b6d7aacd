//! A task's own sizes as callers write them: in a task definition, or in its place in a task's overrides (Amazon ECS API
//! Reference, RegisterTaskDefinition and TaskOverride).

/// `512`, `.5 vCPU`, `1vcpu`: in units of which 1024 are a vCPU. `None` for what is no size that a task may have.
pub(crate) fn cpu_units(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let units = match lower.strip_suffix("vcpu") {
        None => lower.parse().ok()?,
        Some(number) => scaled(number, 1024.0)?,
    };
    (128..=196_608).contains(&units).then_some(units)
}

/// `512`, `1 GB`, `0.5gb`: in MiB. `None` for what is no size that a task may have.
pub(crate) fn mebibytes(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let mebibytes = match lower.strip_suffix("gb") {
        None => lower.strip_suffix("mb").unwrap_or(&lower).trim().parse().ok()?,
        Some(number) => scaled(number, 1024.0)?,
    };
    (4..=i64::from(i32::MAX)).contains(&mebibytes).then_some(mebibytes)
}

#[allow(clippy::cast_possible_truncation, reason = "float casts saturate, and the callers check the range")]
fn scaled(number: &str, unit: f64) -> Option<i64> {
    number.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| (number * unit) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!((cpu_units("512"), cpu_units(".25 vCPU"), cpu_units("2vcpu")), (Some(512), Some(256), Some(2048)));
        assert_eq!((mebibytes("512"), mebibytes("0.5GB"), mebibytes("3 gb")), (Some(512), Some(512), Some(3072)));
        for text in ["", "x", "-1", "1e400 vcpu", "NaN vcpu", "0"] {
            assert_eq!((cpu_units(text), mebibytes(text)), (None, None), "{text}");
        }
    }
}
