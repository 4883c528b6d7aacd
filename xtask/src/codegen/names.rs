//! From the models' names to Rust's.

/// Words that cannot be names of fields and methods as they are.
const KEYWORDS: [&str; 40] = [
    "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "extern", "false", "fn", "for", "gen",
    "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct",
    "trait", "true", "type", "unsafe", "use", "where", "while", "abstract", "box", "final", "macro", "override",
];

/// `clusterArn` → `cluster_arn`, `SAMLAssertion` → `saml_assertion`; a keyword becomes a raw identifier.
pub fn field(name: &str) -> String {
    let snake = words(name).join("_").to_lowercase();
    if KEYWORDS.contains(&snake.as_str()) { format!("r#{snake}") } else { snake }
}

/// `RunTaskRequest` → `RUN_TASK_REQUEST`
pub fn constant(name: &str) -> String {
    words(name).join("_").to_uppercase()
}

/// A type's name: that of the model, with a capital in front.
pub fn type_name(name: &str) -> String {
    capitalized(name)
}

/// An enum's value as a variant: `FARGATE_SPOT` → `FargateSpot`, `json-file` → `JsonFile`, `ActiveImpaired` as it is.
pub fn variant(value: &str) -> String {
    let word = |word: &str| {
        let is_shouted = !word.chars().any(char::is_lowercase);
        capitalized(&if is_shouted { word.to_lowercase() } else { word.to_owned() })
    };
    let joined: String =
        value.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).map(word).collect();
    match joined.as_str() {
        "" => "Empty".to_owned(),
        "Self" => "Itself".to_owned(),
        _ if joined.starts_with(|c: char| c.is_ascii_digit()) => format!("V{joined}"),
        _ => joined,
    }
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + characters.as_str())
}

/// A new word begins at a capital behind a small letter or digit, and at the last capital of several before a small letter.
fn words(name: &str) -> Vec<String> {
    let characters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, character) in characters.iter().enumerate() {
        if !character.is_ascii_alphanumeric() {
            words.push(String::new());
            continue;
        }
        let before = at.checked_sub(1).map(|before| characters[before]);
        let after = characters.get(at + 1);
        let begins = character.is_ascii_uppercase()
            && before.is_some_and(|before| !before.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase));
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(*character);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        for (name, expected) in [
            ("clusterArn", "cluster_arn"),
            ("SAMLAssertion", "saml_assertion"),
            ("ec2InstanceIds", "ec2_instance_ids"),
            ("type", "r#type"),
            ("S3Uri", "s3_uri"),
            ("OCSFVersion", "ocsf_version"),
            ("mac", "mac"),
        ] {
            assert_eq!(field(name), expected);
        }
    }

    #[test]
    fn variants() {
        for (value, expected) in [
            ("FARGATE_SPOT", "FargateSpot"),
            ("EC2", "Ec2"),
            ("json-file", "JsonFile"),
            ("Bytes/Second", "BytesSecond"),
            ("V1.1", "V11"),
            ("32", "V32"),
            ("ActiveImpaired", "ActiveImpaired"),
        ] {
            assert_eq!(variant(value), expected);
        }
    }
}
