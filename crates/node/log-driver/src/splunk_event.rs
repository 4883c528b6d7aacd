//! Lines as Splunk's HTTP Event Collector takes them. It has no I/O.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::line::LogLine;
use crate::moment;

/// How a line is put into an event.
pub(crate) enum Format {
    /// As a string, beside its source, tag and attributes.
    Inline,
    /// As [`Self::Inline`], but JSON stays JSON.
    Json,
    /// The event is the line, with tag and attributes before it.
    Raw,
}

/// What all events of a container have in common.
pub(crate) struct Events {
    pub format: Format,
    pub host: String,
    pub source: Option<String>,
    pub source_type: Option<String>,
    pub index: Option<String>,
    /// Empty if there is to be none.
    pub tag: String,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "event")]
    content: Content<'a>,
    time: String,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sourcetype: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Raw(String),
    Fields {
        line: Line<'a>,
        source: &'static str,
        #[serde(skip_serializing_if = "str::is_empty")]
        tag: &'a str,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        attrs: &'a BTreeMap<String, String>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Json(&'a RawValue),
    Text(String),
}

/// Of an event besides line, tag and attributes: names, host, time.
const EVENT_BYTES: usize = 512;

impl Events {
    /// About how many bytes an event has besides its line.
    pub fn overhead_bytes(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
        EVENT_BYTES + self.tag.len() + attributes
    }

    /// The event's JSON, or `None` for what the collector does not take.
    pub fn json(&self, line: &LogLine) -> Option<String> {
        let event = Event {
            content: self.content(line)?,
            time: moment::seconds_micro(line.time_ns),
            host: &self.host,
            source: self.source.as_deref(),
            sourcetype: self.source_type.as_deref(),
            index: self.index.as_deref(),
        };
        serde_json::to_string(&event).ok()
    }

    fn content<'a>(&'a self, line: &'a LogLine) -> Option<Content<'a>> {
        let text = || String::from_utf8_lossy(line.bytes()).into_owned();
        let content = match self.format {
            Format::Raw => return self.raw(&text()).map(Content::Raw),
            Format::Inline => Line::Text(text()),
            Format::Json => serde_json::from_slice(line.bytes()).map_or_else(|_| Line::Text(text()), Line::Json),
        };
        Some(Content::Fields { line: content, source: line.stream.name(), tag: &self.tag, attrs: &self.attributes })
    }

    /// Events of white space are refused, and with them the whole request.
    fn raw(&self, text: &str) -> Option<String> {
        if text.trim().is_empty() {
            return None;
        }
        let mut event = if self.tag.is_empty() { String::new() } else { format!("{} ", self.tag) };
        for (name, value) in &self.attributes {
            event.extend([name, "=", value, " "]);
        }
        Some(event + text)
    }
}
