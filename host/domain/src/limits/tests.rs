//! What a run asks for, under what an operator allows.

use super::*;

#[test]
fn further_ceilings_only_lower() {
    let low = LimitRequest {
        timeout: Some(Duration::from_millis(1)),
        cpu: Some(Duration::from_millis(2)),
        fuel: Some(3),
        memory_bytes: Some(4),
        table_elements: Some(5),
        disk_bytes: Some(6),
        disk_files: Some(7),
        output_bytes: Some(8),
    };
    let ceilings = LimitPolicy::default().below(&low).ceilings;
    let expected = Limits {
        timeout: Duration::from_millis(1),
        cpu: Duration::from_millis(2),
        fuel: Some(3),
        memory_bytes: 4,
        table_elements: 5,
        disk_bytes: 6,
        disk_files: 7,
        output_bytes: 8,
        ..Limits::CEILING
    };
    assert_eq!(ceilings, expected);
    let high = LimitRequest {
        memory_bytes: Some(u64::MAX),
        fuel: Some(9),
        ..LimitRequest::default()
    };
    let lowered = LimitPolicy::default().below(&low);
    assert_eq!(lowered.below(&high), lowered);
    assert_eq!(lowered.below(&LimitRequest::default()), lowered);
}

#[test]
fn a_limit_that_is_not_named_is_the_default() {
    let limits = LimitPolicy::default()
        .resolve(&LimitRequest::default())
        .unwrap();
    assert_eq!(limits, Limits::DEFAULT);
}

#[test]
fn a_ceiling_is_the_last_value_allowed() {
    let policy = LimitPolicy::default();
    let ask = |memory_bytes| {
        policy.resolve(&LimitRequest {
            memory_bytes: Some(memory_bytes),
            ..Default::default()
        })
    };
    assert_eq!(ask(4096 * MIB).unwrap().memory_bytes, 4096 * MIB);
    let refused = ask(4096 * MIB + 1).unwrap_err();
    assert_eq!(
        (refused.field, refused.ceiling),
        ("memory_bytes", 4096 * MIB)
    );
}

#[test]
fn a_default_never_exceeds_its_ceiling() {
    let mut policy = LimitPolicy::default();
    policy.ceilings.timeout = Duration::from_secs(5);
    let limits = policy.resolve(&LimitRequest::default()).unwrap();
    assert_eq!(limits.timeout, Duration::from_secs(5));
}

/// Each axis that a task may name: how it is asked for, and where it is found.
type Axis = (
    &'static str,
    fn(&mut LimitRequest, u64),
    fn(&mut Limits, u64),
    fn(&Limits) -> u64,
);

const AXES: [Axis; 7] = [
    (
        "timeout_ms",
        |request, n| request.timeout = Some(Duration::from_millis(n)),
        |limits, n| limits.timeout = Duration::from_millis(n),
        |limits| millis(limits.timeout),
    ),
    (
        "cpu_ms",
        |request, n| request.cpu = Some(Duration::from_millis(n)),
        |limits, n| limits.cpu = Duration::from_millis(n),
        |limits| millis(limits.cpu),
    ),
    (
        "memory_bytes",
        |request, n| request.memory_bytes = Some(n),
        |limits, n| limits.memory_bytes = n,
        |limits| limits.memory_bytes,
    ),
    (
        "table_elements",
        |request, n| request.table_elements = Some(n),
        |limits, n| limits.table_elements = n,
        |limits| limits.table_elements,
    ),
    (
        "disk_bytes",
        |request, n| request.disk_bytes = Some(n),
        |limits, n| limits.disk_bytes = n,
        |limits| limits.disk_bytes,
    ),
    (
        "disk_files",
        |request, n| request.disk_files = Some(n),
        |limits, n| limits.disk_files = n,
        |limits| limits.disk_files,
    ),
    (
        "output_bytes",
        |request, n| request.output_bytes = Some(n),
        |limits, n| limits.output_bytes = n,
        |limits| limits.output_bytes,
    ),
];

#[test]
fn each_axis_has_its_default_and_its_ceiling() {
    for (field, ask, set, found) in AXES {
        let mut policy = LimitPolicy::default();
        set(&mut policy.defaults, 17);
        set(&mut policy.ceilings, 40);
        let resolve = |asked: Option<u64>| {
            let mut request = LimitRequest::default();
            if let Some(asked) = asked {
                ask(&mut request, asked);
            }
            policy.resolve(&request)
        };
        assert_eq!(found(&resolve(None).unwrap()), 17, "{field}");
        assert_eq!(found(&resolve(Some(40)).unwrap()), 40, "{field}");
        let refused = resolve(Some(41)).unwrap_err();
        let expected = AboveCeiling {
            field,
            asked: 41,
            ceiling: 40,
        };
        assert_eq!(refused, expected);
    }
}

#[test]
fn fuel_is_unlimited_where_neither_the_task_nor_the_operator_says() {
    let fuel = |default: Option<u64>, ceiling: Option<u64>, asked: Option<u64>| {
        let mut policy = LimitPolicy::default();
        (policy.defaults.fuel, policy.ceilings.fuel) = (default, ceiling);
        let request = LimitRequest {
            fuel: asked,
            ..LimitRequest::default()
        };
        policy.resolve(&request).map(|limits| limits.fuel)
    };
    assert_eq!(fuel(None, None, None), Ok(None));
    assert_eq!(fuel(Some(7), None, None), Ok(Some(7)));
    assert_eq!(fuel(Some(7), Some(5), None), Ok(Some(5)));
    assert_eq!(fuel(Some(7), None, Some(9)), Ok(Some(9)));
    assert_eq!(fuel(None, Some(9), Some(9)), Ok(Some(9)));
    let refused = fuel(None, Some(9), Some(10)).unwrap_err();
    assert_eq!((refused.field, refused.ceiling), ("fuel", 9));
}

#[test]
fn the_limits_of_a_host_whose_operator_changed_nothing() {
    assert_eq!(MIB, 1 << 20);
    let (default, ceiling) = (Limits::DEFAULT, Limits::CEILING);
    assert_eq!(default.memory_bytes, 134_217_728);
    assert_eq!(default.disk_bytes, 67_108_864);
    assert_eq!(default.output_bytes, 4_194_304);
    assert_eq!(default.hostcall_bytes, 8_388_608);
    assert_eq!(ceiling.timeout, Duration::from_millis(3_600_000));
    assert_eq!(ceiling.cpu, Duration::from_millis(3_600_000));
    assert_eq!(ceiling.memory_bytes, 4_294_967_296);
    assert_eq!(ceiling.disk_bytes, 17_179_869_184);
    assert_eq!(ceiling.hostcall_bytes, 268_435_456);
    let kept = [
        ceiling.output_bytes,
        ceiling.stdout_bytes,
        ceiling.stderr_bytes,
        ceiling.log_bytes,
        ceiling.random_bytes,
    ];
    assert_eq!(kept, [67_108_864; 5]);
}
