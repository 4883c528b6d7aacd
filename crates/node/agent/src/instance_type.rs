//! The sizes of EC2's instance types: CPU and memory, as EC2's documentation of its instance types has them.

use crate::capacity::Capacity;

/// Sizes that most families have, by vCPUs.
const SIZES: [(&str, i64); 8] = [
    ("large", 2),
    ("xlarge", 4),
    ("2xlarge", 8),
    ("4xlarge", 16),
    ("8xlarge", 32),
    ("12xlarge", 48),
    ("16xlarge", 64),
    ("24xlarge", 96),
];
/// Families whose memory follows from the vCPUs, by MiB a vCPU.
const FAMILIES: [(&str, i64); 21] = [
    ("c5", 2048),
    ("c5a", 2048),
    ("c6a", 2048),
    ("c6g", 2048),
    ("c6i", 2048),
    ("c7a", 2048),
    ("c7g", 2048),
    ("c7i", 2048),
    ("m5", 4096),
    ("m5a", 4096),
    ("m6a", 4096),
    ("m6g", 4096),
    ("m6i", 4096),
    ("m7a", 4096),
    ("m7g", 4096),
    ("m7i", 4096),
    ("r5", 8192),
    ("r6g", 8192),
    ("r6i", 8192),
    ("r7g", 8192),
    ("r7i", 8192),
];
/// The burstable ones since t3: the same sizes for each, with vCPUs and MiB.
const BURSTABLE: [&str; 3] = ["t3", "t3a", "t4g"];
const BURSTABLE_SIZES: [(&str, i64, i64); 7] = [
    ("nano", 2, 512),
    ("micro", 2, 1024),
    ("small", 2, 2048),
    ("medium", 2, 4096),
    ("large", 2, 8192),
    ("xlarge", 4, 16384),
    ("2xlarge", 8, 32768),
];
/// Those that follow no rule, with vCPUs and MiB.
const OTHERS: [(&str, i64, i64); 17] = [
    ("a1.medium", 1, 2048),
    ("c6g.medium", 1, 2048),
    ("c7a.medium", 1, 2048),
    ("c7g.medium", 1, 2048),
    ("c5.9xlarge", 36, 73728),
    ("c5.18xlarge", 72, 147_456),
    ("m6g.medium", 1, 4096),
    ("m7a.medium", 1, 4096),
    ("m7g.medium", 1, 4096),
    ("r6g.medium", 1, 8192),
    ("t2.nano", 1, 512),
    ("t2.micro", 1, 1024),
    ("t2.small", 1, 2048),
    ("t2.medium", 2, 4096),
    ("t2.large", 2, 8192),
    ("t2.xlarge", 4, 16384),
    ("t2.2xlarge", 8, 32768),
];
/// Combinations of [`FAMILIES`] and [`SIZES`] that EC2 does not have.
const ABSENT: [&str; 8] = [
    "c5.8xlarge",
    "c5.16xlarge",
    "c6g.24xlarge",
    "c7g.24xlarge",
    "m6g.24xlarge",
    "m7g.24xlarge",
    "r6g.24xlarge",
    "r7g.24xlarge",
];

/// What an instance of this type has; `None` for a type that is not known here.
pub fn size_of(instance_type: &str) -> Option<Capacity> {
    let offer = |vcpus: i64, memory: i64| Capacity { cpu: vcpus * 1024, memory };
    if let Some((_, vcpus, memory)) = OTHERS.iter().find(|(name, ..)| *name == instance_type) {
        return Some(offer(*vcpus, *memory));
    }
    let (family, size) = instance_type.split_once('.').filter(|_| !ABSENT.contains(&instance_type))?;
    if BURSTABLE.contains(&family) {
        let (_, vcpus, memory) = BURSTABLE_SIZES.iter().find(|(name, ..)| *name == size)?;
        return Some(offer(*vcpus, *memory));
    }
    let (_, per_vcpu) = FAMILIES.iter().find(|(name, _)| *name == family)?;
    let (_, vcpus) = SIZES.iter().find(|(name, _)| *name == size)?;
    Some(offer(*vcpus, vcpus * per_vcpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_ec2s() {
        let of = |name: &str| size_of(name).map(|size| (size.cpu / 1024, size.memory / 1024));
        assert_eq!(of("t3.small"), Some((2, 2)));
        assert_eq!(of("t3.2xlarge"), Some((8, 32)));
        assert_eq!(of("t2.micro"), Some((1, 1)));
        assert_eq!(of("m5.large"), Some((2, 8)));
        assert_eq!(of("c5.xlarge"), Some((4, 8)));
        assert_eq!(of("c5.9xlarge"), Some((36, 72)));
        assert_eq!(of("r5.24xlarge"), Some((96, 768)));
        assert_eq!(size_of("t3.nano").map(|size| size.memory), Some(512));
    }

    #[test]
    fn what_ec2_has_not_has_no_size() {
        for name in ["", "t3", "t3.", ".large", "t3.tiny", "x9.large", "c5.8xlarge", "m5.large.x"] {
            assert_eq!(size_of(name), None, "{name}");
        }
    }
}
