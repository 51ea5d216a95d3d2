//! The path of a fault, through every kind of buffering.

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only decoded")]
enum Command {
    Order {
        number: u64,
        #[serde(default)]
        note: String,
        #[serde(default)]
        lines: Vec<Line>,
        address: Option<Address>,
    },
    Pay {
        how: Payment,
        amount: Positive,
    },
    Move {
        span: Span,
    },
    Point {
        at: (i32, i32),
    },
    Cancel,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only decoded")]
struct Line {
    item: String,
    count: u32,
    #[serde(default)]
    number: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoded")]
struct Address {
    street: String,
    city: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[expect(dead_code, reason = "only decoded")]
enum Payment {
    Card { number: String },
    Invoice { to: Address },
    Split(Split),
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only decoded")]
struct Split {
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only decoded")]
enum Part {
    Half,
    Exactly(u32),
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "i64")]
struct Positive(#[expect(dead_code, reason = "only decoded")] i64);

impl TryFrom<i64> for Positive {
    type Error = &'static str;

    fn try_from(value: i64) -> Result<Self, Self::Error> {
        if value > 0 { Ok(Self(value)) } else { Err("an amount is above zero") }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "RawSpan")]
struct Span;

#[derive(Debug, Deserialize)]
struct RawSpan {
    from: u32,
    to: u32,
}

impl TryFrom<RawSpan> for Span {
    type Error = &'static str;

    fn try_from(RawSpan { from, to }: RawSpan) -> Result<Self, Self::Error> {
        if from < to { Ok(Self) } else { Err("a span ends after it begins") }
    }
}

#[track_caller]
fn check<C: DeserializeOwned>(json: &str, path: &str) {
    let mut decoder = serde_json::Deserializer::from_str(json);
    let fault = match serde_path_to_error::deserialize::<_, C>(&mut decoder) {
        Ok(_) => panic!("it is accepted: {json}"),
        Err(fault) => fault,
    };
    let known = fault.path().to_string();
    assert_eq!(locate::<C>(json.as_bytes(), known), path, "{fault} in {json}");
}

#[track_caller]
fn command(json: &str, path: &str) {
    check::<Command>(json, path);
    // The same inside of an array, of a struct, and with the tag behind.
    check::<Vec<Command>>(&format!("[{{\"type\":\"cancel\"}},{json}]"), &under("[1]", path));
    check::<Wrapped>(&format!("{{\"all\":[{json}]}}"), &under("all[0]", path));
    if let Some(rest) = json.strip_prefix("{\"type\":") {
        let (tag, rest) = rest.split_once(',').unwrap_or((rest.trim_end_matches('}'), "}"));
        let rest = rest.strip_suffix('}').expect("an object");
        let comma = if rest.is_empty() { "" } else { "," };
        check::<Command>(&format!("{{{rest}{comma}\"type\":{tag}}}"), path);
    }
}

fn under(base: &str, path: &str) -> String {
    if path == "." { base.to_owned() } else { format!("{base}.{path}") }
}

#[derive(Debug, Deserialize)]
struct Wrapped {
    #[serde(rename = "all")]
    _all: Vec<Command>,
}

#[test]
fn a_wrong_type_is_found_in_an_enum_that_is_tagged_inside() {
    command(r#"{"type":"order","number":"seven"}"#, "number");
    command(r#"{"type":"order","number":7,"note":5}"#, "note");
    command(r#"{"type":"order","number":-1}"#, "number");
    command(r#"{"type":"order","number":1.5}"#, "number");
    command(r#"{"type":"order","number":null}"#, "number");
    command(r#"{"type":"order","number":{}}"#, "number");
    command(r#"{"type":"order","number":7,"lines":{}}"#, "lines");
    command(r#"{"type":"order","number":7,"address":[1]}"#, "address[0]");
}

#[test]
fn a_wrong_type_is_found_deep_inside() {
    command(
        r#"{"type":"order","number":7,"lines":[{"item":"a","count":1},{"item":"b","count":"2"}]}"#,
        "lines[1].count",
    );
    command(r#"{"type":"order","number":7,"address":{"street":"a","city":5}}"#, "address.city");
    command(
        r#"{"type":"pay","how":{"by":"invoice","to":{"street":1,"city":"b"}},"amount":1}"#,
        "how.to.street",
    );
    command(
        r#"{"type":"pay","how":{"by":"split","parts":["half",{"exactly":"x"}]},"amount":1}"#,
        "how.parts[1].exactly",
    );
}

#[test]
fn of_equal_values_the_one_at_fault_is_found() {
    // "seven" is fine as a note, as an item and in a street.
    command(
        r#"{"type":"order","note":"seven","number":"seven","lines":[{"item":"seven","count":1}]}"#,
        "number",
    );
    command(
        r#"{"type":"order","number":7,"note":"2","lines":[{"item":"2","count":2},{"item":"2","count":"2"},{"item":"2","count":"2"}]}"#,
        "lines[1].count",
    );
    // The tag has the same value as the fault.
    command(r#"{"type":"order","number":"order"}"#, "number");
    command(r#"{"type":"pay","how":{"by":"card","number":5},"amount":5}"#, "how.number");
}

#[test]
fn a_missing_field_is_found_by_what_it_is_missing_from() {
    command(r#"{"type":"order"}"#, ".");
    command(
        r#"{"type":"order","number":7,"lines":[{"item":"a","count":1},{"item":"b"},{"item":"c"}]}"#,
        "lines[1]",
    );
    command(
        r#"{"type":"order","number":7,"lines":[{"count":1},{"count":2}],"address":{"street":"a"}}"#,
        "lines[0]",
    );
    command(
        r#"{"type":"order","number":7,"lines":[{"item":"a","count":1}],"address":{"street":"a"}}"#,
        "address",
    );
    // `number` is left out of a line, which may, before it is missing from the order, which may not.
    command(r#"{"type":"order","lines":[{"item":"a","count":1}]}"#, ".");
    command(r#"{"type":"pay","how":{"number":"5"},"amount":1}"#, "how");
    check::<Command>(r#"{"number":7}"#, ".");
    check::<Vec<Command>>(r#"[{"type":"cancel"},{"number":7}]"#, "[1]");
}

#[test]
fn an_unknown_variant_is_found_at_its_tag_or_name() {
    command(r#"{"type":"ordre","number":7}"#, "type");
    command(r#"{"type":"pay","how":{"by":"cash"},"amount":1}"#, "how.by");
    command(r#"{"type":"pay","how":{"by":"split","parts":["half","third"]},"amount":1}"#, "how.parts[1]");
    command(r#"{"type":"pay","how":{"by":"split","parts":[{"about":3}]},"amount":1}"#, "how.parts[0].about");
    // The same word is a value elsewhere.
    command(r#"{"type":"ordre","note":"ordre"}"#, "type");
}

#[test]
fn an_unknown_or_repeated_field_is_found() {
    command(r#"{"type":"order","number":7,"colour":1}"#, "colour");
    command(r#"{"type":"order","number":7,"address":{"street":"a","city":"b","zip":1}}"#, "address.zip");
    command(r#"{"type":"order","number":7,"lines":[{"item":"a","count":1,"count":2}]}"#, "lines[0].count");
}

#[test]
fn a_wrong_length_is_found() {
    command(r#"{"type":"point","at":[1]}"#, "at");
    command(r#"{"type":"point","at":[1,2,3]}"#, "at");
}

#[test]
fn words_of_a_type_of_its_own_lead_to_what_holds_the_fault() {
    command(r#"{"type":"pay","how":{"by":"card","number":"5"},"amount":-5,"extra":1}"#, "amount");
    check::<Command>(r#"{"type":"pay","amount":-5,"how":{"by":"card","number":"5"}}"#, "amount");
    check::<Vec<Command>>(r#"[{"type":"move","span":{"from":2,"to":1}},{"type":"cancel"}]"#, "[0]");
}

#[test]
fn nothing_is_claimed_where_nothing_is_known() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only decoded")]
    enum Either {
        Number { a: u32 },
        Text { b: String },
    }
    check::<Either>(r#"{"a":"x","b":1}"#, ".");
    check::<Vec<Either>>(r#"[{"a":1},{"a":"x"}]"#, "[1]");
}

#[test]
fn a_decoder_that_panics_over_a_probe_takes_nobody_along() {
    #[derive(Debug, Deserialize)]
    #[serde(tag = "type")]
    #[expect(dead_code, reason = "only decoded")]
    enum Touchy {
        A { text: Plain, number: u32 },
    }
    #[derive(Debug, Deserialize)]
    #[serde(from = "String")]
    struct Plain;
    impl From<String> for Plain {
        fn from(text: String) -> Self {
            assert!(text.is_ascii(), "only ASCII was ever sent");
            Self
        }
    }
    check::<Touchy>(r#"{"type":"A","text":"x","number":"x"}"#, "number");
}

#[test]
fn a_large_body_is_looked_into_in_bounded_time_or_not_at_all() {
    #[derive(Serialize)]
    struct Big {
        r#type: &'static str,
        number: u32,
        lines: Vec<serde_json::Value>,
    }
    let big = |lines: usize| {
        let line = |at| serde_json::json!({ "item": "2", "count": if at + 1 == lines { "2".into() } else { serde_json::json!(2) } });
        serde_json::to_string(&Big { r#type: "order", number: 1, lines: (0..lines).map(line).collect() })
            .expect("JSON")
    };
    command(&big(300), "lines[299].count");
    check::<Command>(&big(10_000), ".");
}

#[test]
fn many_places_cost_no_more_than_few_looks() {
    // As many places as fit, all of them equal, and the fault in the first: every look decodes all.
    let decoys = "\"x\",".repeat(3900);
    let json = format!("{{\"type\":\"A\",\"bad\":\"x\",\"good\":[{}\"x\"]}}", decoys);
    #[derive(Debug, Deserialize)]
    #[serde(tag = "type")]
    #[expect(dead_code, reason = "only decoded")]
    enum Many {
        A { bad: u32, good: Vec<String> },
    }
    assert!((15_000..MAX_BYTES).contains(&json.len()), "{}", json.len());
    check::<Many>(&json, "bad");
}
