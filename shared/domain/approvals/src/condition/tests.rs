use super::*;
use serde_json::json;

fn parse(value: &Value) -> Result<Condition, Vec<String>> {
    let mut validator = Validator::default();
    let parsed = Condition::parse(value, "conditions", &mut validator);
    match validator.finish() {
        Ok(()) => Ok(parsed.unwrap()),
        Err(error) => Err(error.details().unwrap()["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| {
                format!(
                    "{} {}",
                    field["path"].as_str().unwrap(),
                    field["code"].as_str().unwrap()
                )
            })
            .collect()),
    }
}

fn facts() -> Facts {
    Facts::default()
        .with("amount", Some("100000.10".parse::<Decimal>().unwrap()))
        .with("stage", Some("won"))
        .with("urgent", Some(true))
}

fn holds(value: Value) -> bool {
    parse(&value).unwrap().holds(&facts())
}

fn compare(field: &str, op: &str, value: Value) -> Value {
    json!({ "field": field, "op": op, "value": value })
}

#[test]
fn numbers_are_compared_exactly() {
    assert!(holds(compare("amount", "eq", json!(100_000.1))));
    assert!(holds(compare("amount", "eq", json!("100000.100"))));
    assert!(holds(compare("amount", "gt", json!("100000.0999999999999999"))));
    assert!(!holds(compare("amount", "gt", json!("100000.1"))));
    assert!(holds(compare("amount", "gte", json!("100000.1"))));
    assert!(holds(compare("amount", "lt", json!(100_001))));
    assert!(holds(compare("amount", "lte", json!(1e6))));
    // as floats these two are one number
    let sum = Facts::default().with("sum", Some("9007199254740993".parse::<Decimal>().unwrap()));
    let more = parse(&compare("sum", "gt", json!("9007199254740992"))).unwrap();
    assert!(more.holds(&sum));
    let more = parse(&compare("sum", "gt", json!(9_007_199_254_740_992_u64))).unwrap();
    assert!(more.holds(&sum));
}

#[test]
fn a_fact_that_is_not_there_or_of_another_kind_compares_as_false() {
    for op in ["eq", "ne", "gt", "gte", "lt", "lte"] {
        assert!(!holds(compare("nothing", op, json!(1))), "{op}");
    }
    assert!(!holds(compare("nothing", "in", json!([1, "a"]))));
    assert!(holds(json!({ "not": compare("nothing", "eq", json!(1)) })));
    assert!(!holds(compare("stage", "gt", json!(1))));
    assert!(!holds(compare("stage", "eq", json!(true))));
    assert!(holds(compare("stage", "ne", json!("lost"))));
    assert!(holds(compare("stage", "in", json!(["open", "won"]))));
    assert!(holds(compare("amount", "in", json!([1, "100000.1"]))));
    assert!(holds(compare("urgent", "eq", json!(true))));
}

#[test]
fn all_any_and_not_combine() {
    let (yes, no) = (
        compare("urgent", "eq", json!(true)),
        compare("urgent", "eq", json!(false)),
    );
    assert!(holds(json!({ "all": [yes, yes] })));
    assert!(!holds(json!({ "all": [yes, no] })));
    assert!(holds(json!({ "any": [no, yes] })));
    assert!(!holds(json!({ "any": [no, no] })));
    assert!(holds(
        json!({ "all": [{ "not": no }, { "any": [no, { "all": [yes] }] }] })
    ));
}

#[test]
fn what_is_stored_is_what_was_read() {
    let tree = json!({ "all": [compare("amount", "gt", json!(10.5)), { "not": compare("stage", "in", json!(["a", 1])) }] });
    let stored = serde_json::to_value(parse(&tree).unwrap()).unwrap();
    assert_eq!(stored, tree);
    assert_eq!(
        serde_json::from_value::<Condition>(stored).unwrap(),
        parse(&tree).unwrap()
    );
}

#[test]
fn everything_wrong_is_named() {
    let deep =
        |levels: usize| (1..levels).fold(compare("a", "eq", json!(1)), |inner, _| json!({ "not": inner }));
    assert!(parse(&deep(MAX_DEPTH)).is_ok());
    assert_eq!(
        parse(&deep(MAX_DEPTH + 1)).unwrap_err(),
        ["conditions.not.not.not.not.not too_deep"]
    );
    let wide = |parts: usize| json!({ "any": vec![compare("a", "eq", json!(1)); parts] });
    assert!(parse(&wide(MAX_PARTS - 1)).is_ok());
    assert_eq!(
        parse(&wide(MAX_PARTS)).unwrap_err(),
        ["conditions.any[49] too_many"]
    );
    assert_eq!(parse(&wide(10_000)).unwrap_err(), ["conditions.any[49] too_many"]);
    assert!(parse(&compare("a", "in", json!(vec![1; MAX_CHOICES]))).is_ok());
    for (bad, at) in [
        (json!([]), "conditions invalid"),
        (json!({}), "conditions invalid"),
        (json!({ "all": [] }), "conditions.all invalid"),
        (json!({ "any": 1 }), "conditions.any invalid"),
        (json!({ "all": [7] }), "conditions.all[0] invalid"),
        (
            json!({ "field": "a", "op": "like", "value": 1 }),
            "conditions invalid",
        ),
        (
            json!({ "field": "a", "op": "eq", "value": 1, "x": 1 }),
            "conditions invalid",
        ),
        (json!({ "field": "a", "op": "eq" }), "conditions invalid"),
        (compare("", "eq", json!(1)), "conditions.field invalid"),
        (compare("a b", "eq", json!(1)), "conditions.field invalid"),
        (compare("a", "eq", json!(null)), "conditions.value invalid"),
        (compare("a", "eq", json!([1])), "conditions.value invalid"),
        (
            compare("a", "eq", json!("x".repeat(201))),
            "conditions.value invalid",
        ),
        (compare("a", "eq", json!("\u{0}")), "conditions.value invalid"),
        (compare("a", "gt", json!("many")), "conditions.value invalid"),
        (
            compare("a", "gt", json!(0.123_456_789_012_345_68)),
            "conditions.value invalid",
        ),
        (compare("a", "gt", json!(true)), "conditions.value invalid"),
        (compare("a", "in", json!([])), "conditions.value invalid"),
        (compare("a", "in", json!([[1]])), "conditions.value invalid"),
        (
            compare("a", "in", json!(vec![1; MAX_CHOICES + 1])),
            "conditions.value invalid",
        ),
    ] {
        assert_eq!(parse(&bad).unwrap_err(), [at], "{bad}");
    }
}

#[test]
fn a_fact_is_compared_only_with_what_it_can_be() {
    let known: FactTypes = &[
        ("urgent", FactType::Bool),
        ("amount", FactType::Number),
        ("note", FactType::Text),
        ("stage", FactType::Code(&["won", "lost"])),
        ("owner", FactType::Id),
    ];
    let check = |tree: &Value| {
        let mut validator = Validator::default();
        let parsed = parse(tree).unwrap();
        parsed.check_facts(known, "conditions", &mut validator);
        validator
            .finish()
            .map_err(|error| error.details().unwrap()["fields"].clone())
    };
    let id = Uuid::nil();
    for (field, value) in [
        ("urgent", json!(false)),
        ("amount", json!(1)),
        ("amount", json!("1.5")),
        ("note", json!("1")),
        ("stage", json!("lost")),
        ("owner", json!(id)),
    ] {
        for op in ["eq", "ne"] {
            check(&compare(field, op, value.clone())).unwrap();
        }
        check(&compare(field, "in", json!([value]))).unwrap();
    }
    for op in ["gt", "gte", "lt", "lte"] {
        check(&compare("amount", op, json!(1))).unwrap();
        for field in ["urgent", "note", "stage", "owner"] {
            let refused = check(&json!({ "not": compare(field, op, json!(1)) })).unwrap_err();
            assert_eq!(refused[0]["path"], "conditions.not.op", "{field} {op}");
        }
    }
    for (field, value) in [
        ("urgent", json!("true")),
        ("amount", json!(true)),
        ("amount", json!("lots")),
        ("note", json!(1)),
        ("stage", json!("wno")),
        ("stage", json!(1)),
        ("owner", json!("somebody")),
        ("owner", json!(1)),
    ] {
        let refused = check(&compare(field, "eq", value.clone())).unwrap_err();
        assert_eq!(refused[0]["path"], "conditions.value", "{field} {value}");
        let refused = check(&json!({ "any": [compare(field, "in", json!([value]))] })).unwrap_err();
        assert_eq!(
            refused[0]["path"], "conditions.any[0].value[0]",
            "{field} {value}"
        );
    }
    let refused = check(&compare("stage", "eq", json!("wno"))).unwrap_err();
    assert_eq!(refused[0]["message"], "stage is one of won, lost.");
}

#[test]
fn an_id_is_the_same_however_it_is_written() {
    let facts = Facts::default().with("owner", Some(Uuid::max()));
    for written in [
        Uuid::max().to_string(),
        Uuid::max().simple().to_string().to_uppercase(),
    ] {
        assert!(
            parse(&compare("owner", "eq", json!(written)))
                .unwrap()
                .holds(&facts)
        );
    }
    assert!(
        !parse(&compare("owner", "in", json!([Uuid::nil()])))
            .unwrap()
            .holds(&facts)
    );
    assert_eq!(facts.user("owner"), Some(Uuid::max()));
    assert_eq!(facts.to_json(), json!({ "owner": Uuid::max() }));
}

#[test]
fn a_fact_is_given_as_what_it_is_declared() {
    let declared: FactTypes = &[("stage", FactType::Code(&["won"])), ("amount", FactType::Number)];
    let given = Facts::default()
        .with("stage", Some("won"))
        .with("amount", Some(1_i64));
    assert_eq!(given.undeclared(declared), None);
    assert_eq!(given.undeclared(&declared[..1]), Some("amount"));
    let wrong = Facts::default().with("amount", Some("1"));
    assert_eq!(wrong.undeclared(declared), Some("amount"));
}
