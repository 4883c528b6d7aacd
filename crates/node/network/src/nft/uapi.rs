//! Numbers of `<linux/netfilter/nf_tables.h>`: attribute types by the object that they describe.

pub(super) mod table {
    pub(in crate::nft) const NAME: u16 = 1;
}

pub(super) mod generation {
    pub(in crate::nft) const ID: u16 = 1;
}

pub(super) mod chain {
    pub(in crate::nft) const TABLE: u16 = 1;
    pub(in crate::nft) const NAME: u16 = 3;
    pub(in crate::nft) const HOOK: u16 = 4;
    pub(in crate::nft) const TYPE: u16 = 7;
    pub(in crate::nft) const HOOK_NUMBER: u16 = 1;
    pub(in crate::nft) const HOOK_PRIORITY: u16 = 2;
}

pub(super) mod rule {
    pub(in crate::nft) const TABLE: u16 = 1;
    pub(in crate::nft) const CHAIN: u16 = 2;
    pub(in crate::nft) const EXPRESSIONS: u16 = 4;
    pub(in crate::nft) const USER_DATA: u16 = 7;
}

pub(super) mod set {
    pub(in crate::nft) const TABLE: u16 = 1;
    pub(in crate::nft) const NAME: u16 = 2;
    pub(in crate::nft) const FLAGS: u16 = 3;
    pub(in crate::nft) const KEY_TYPE: u16 = 4;
    pub(in crate::nft) const KEY_BYTES: u16 = 5;
    pub(in crate::nft) const DATA_TYPE: u16 = 6;
    pub(in crate::nft) const DATA_BYTES: u16 = 7;
    pub(in crate::nft) const ID: u16 = 10;
}

/// A list of a set's elements.
pub(super) mod elements {
    pub(in crate::nft) const TABLE: u16 = 1;
    pub(in crate::nft) const SET: u16 = 2;
    pub(in crate::nft) const LIST: u16 = 3;
    pub(in crate::nft) const KEY: u16 = 1;
    pub(in crate::nft) const DATA: u16 = 2;
}

/// One entry of any list (`NFTA_LIST_ELEM`).
pub(super) const ENTRY: u16 = 1;

/// Constants in expressions, keys and data (`NFTA_DATA_*`).
pub(super) mod data {
    pub(in crate::nft) const VALUE: u16 = 1;
    pub(in crate::nft) const VERDICT: u16 = 2;
    pub(in crate::nft) const VERDICT_CODE: u16 = 1;
}

pub(super) mod expression {
    pub(in crate::nft) const NAME: u16 = 1;
    pub(in crate::nft) const DATA: u16 = 2;
}

pub(super) mod immediate {
    pub(in crate::nft) const TO: u16 = 1;
    pub(in crate::nft) const DATA: u16 = 2;
}

pub(super) mod bitwise {
    pub(in crate::nft) const FROM: u16 = 1;
    pub(in crate::nft) const TO: u16 = 2;
    pub(in crate::nft) const BYTES: u16 = 3;
    pub(in crate::nft) const MASK: u16 = 4;
    pub(in crate::nft) const XOR: u16 = 5;
}

pub(super) mod compare {
    pub(in crate::nft) const FROM: u16 = 1;
    pub(in crate::nft) const OPERATION: u16 = 2;
    pub(in crate::nft) const DATA: u16 = 3;
}

pub(super) mod lookup {
    pub(in crate::nft) const SET: u16 = 1;
    pub(in crate::nft) const FROM: u16 = 2;
    pub(in crate::nft) const TO: u16 = 3;
}

pub(super) mod payload {
    pub(in crate::nft) const TO: u16 = 1;
    pub(in crate::nft) const BASE: u16 = 2;
    pub(in crate::nft) const OFFSET: u16 = 3;
    pub(in crate::nft) const BYTES: u16 = 4;
}

/// `meta` and `ct` have these two alike.
pub(super) mod fact {
    pub(in crate::nft) const TO: u16 = 1;
    pub(in crate::nft) const KEY: u16 = 2;
}

pub(super) mod fib {
    pub(in crate::nft) const TO: u16 = 1;
    pub(in crate::nft) const RESULT: u16 = 2;
    pub(in crate::nft) const FLAGS: u16 = 3;
}

pub(super) mod nat {
    pub(in crate::nft) const TYPE: u16 = 1;
    pub(in crate::nft) const FAMILY: u16 = 2;
    pub(in crate::nft) const ADDRESS_FROM: u16 = 3;
    pub(in crate::nft) const PORT_FROM: u16 = 5;
}

pub(super) mod reject {
    pub(in crate::nft) const TYPE: u16 = 1;
    pub(in crate::nft) const ICMP_CODE: u16 = 2;
}
