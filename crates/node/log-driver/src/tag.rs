//! Tags: templates like `{{.ImageName}}/{{.Name}}` (docs.docker.com/engine/logging/log_tags). Of Go's template language
//! this has the fields, and nothing else.

use crate::container::ContainerInfo;
use crate::error::OptionError;
use crate::options::Options;

const DEFAULT: &str = "{{.ID}}";

/// The container's tag. An empty template is the default one.
pub(crate) fn tag(options: &Options<'_>, container: &ContainerInfo) -> Result<String, OptionError> {
    render(options.text("tag").unwrap_or(DEFAULT), container)
        .map_err(|reason| OptionError::Invalid { option: "tag", reason })
}

fn render(template: &str, container: &ContainerInfo) -> Result<String, String> {
    let mut tag = String::new();
    let mut rest = template;
    while let Some((text, action)) = rest.split_once("{{") {
        let (field, after) = action.split_once("}}").ok_or("an action is not closed")?;
        tag.push_str(text);
        tag.push_str(value(field.trim(), container)?);
        rest = after;
    }
    tag.push_str(rest);
    Ok(tag)
}

fn value<'a>(field: &str, container: &'a ContainerInfo) -> Result<&'a str, String> {
    Ok(match field {
        ".ID" => container.short_id(),
        ".FullID" => &container.id,
        ".Name" => container.plain_name(),
        ".ImageID" => container.short_image_id(),
        ".ImageFullID" => &container.image_id,
        ".ImageName" => &container.image_name,
        ".DaemonName" => &container.daemon_name,
        _ => return Err(format!("'{{{{{field}}}}}' is none of the fields a tag can have")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::container;

    #[test]
    fn fields_become_what_they_stand_for() {
        let container = container();
        for (template, expected) in [
            ("{{.ID}}", "0123456789ab"),
            ("{{ .Name }}-{{.ImageName}}", "web-nginx:1"),
            ("{{.ImageID}}", "sha256:fedcb"),
            ("{{.DaemonName}}/{{.FullID}}", &format!("estiva/{}", container.id)),
            ("plain }} text", "plain }} text"),
            ("{{.ImageFullID}}", &container.image_id),
        ] {
            assert_eq!(render(template, &container).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for template in ["{{", "a{{.ID}", "{{.Nope}}", "{{ID}}", "{{}}", "{{range .}}x{{end}}", "{{{.ID}}}"] {
            assert!(render(template, &container()).is_err(), "{template}");
        }
    }

    proptest! {
        #[test]
        fn text_around_a_field_stays(before in "[^{]*", after in "[^{]*") {
            let tag = render(&format!("{before}{{{{.Name}}}}{after}"), &container()).unwrap();
            prop_assert_eq!(tag, format!("{before}web{after}"));
        }

        #[test]
        fn no_template_and_no_identifier_panics(template in "[{}. ID\u{e9}]*", id in "\\PC{0,20}") {
            let container = ContainerInfo { id, ..container() };
            let _ = render(&template, &container);
            prop_assert!(container.short_id().chars().count() <= 12);
        }
    }
}
