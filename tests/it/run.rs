//! Running a module at once.

use serde_json::json;

use crate::support::guests;
use crate::support::host::Host;

#[test]
fn raw_bytes_go_in_and_come_out_with_their_type() {
    let host = Host::start();
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let answer = host
        .client
        .run("echo", "application/x-thing", b"\0\xff bytes")
        .expect(200);
    assert_eq!(answer.body, b"\0\xff bytes");
    assert_eq!(answer.header("content-type"), "application/x-thing");
    assert!(
        answer
            .header("cofferdam-duration-us")
            .parse::<u64>()
            .is_ok()
    );
    assert!(
        answer
            .header("cofferdam-peak-memory-bytes")
            .parse::<u64>()
            .unwrap()
            >= 65536
    );
}

#[test]
fn the_examples_do_their_work_on_real_data() {
    let host = Host::start();
    for name in ["transform", "thumbnail", "wordcount", "primes"] {
        host.client
            .put_module(name, &guests::built(name))
            .expect(201);
    }
    let run = |name: &str, sample: &str| {
        let input = guests::sample(&format!("{name}/data/{sample}"));
        host.client
            .run(name, "application/json", &input)
            .expect(200)
            .json()
    };
    let cities = run("transform", "request.json");
    assert_eq!(
        cities[0],
        json!({"city": "Kinshasa", "country": "DR Congo", "population": 11_855_000})
    );
    assert_eq!(run("wordcount", "map.json")["total"], 278);
    assert_eq!(run("primes", "range.json")["count"], 78498);

    for (file, kind) in [("mountains.jpg", "image/jpeg"), ("chart.png", "image/png")] {
        let picture = guests::sample(&format!("thumbnail/data/{file}"));
        let small = host.client.run("thumbnail", kind, &picture).expect(200);
        assert_eq!(small.header("content-type"), "image/png");
        assert!(
            small.body.starts_with(b"\x89PNG") && small.body.len() < picture.len(),
            "{file}"
        );
    }
}

#[test]
fn limits_come_by_query_or_header_and_stay_below_the_ceiling() {
    let host = Host::with_config("[ceilings]\nmemory_bytes = 67108864\n");
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    host.client
        .run(
            "echo?memory_bytes=67108864&timeout_ms=1000",
            "text/plain",
            b"",
        )
        .expect(200);
    let problem = host
        .client
        .run("echo?memory_bytes=67108865", "text/plain", b"")
        .expect_problem(400, "limit_above_ceiling");
    assert!(problem["detail"].as_str().unwrap().contains("memory_bytes"));
    let header = [
        ("cofferdam-memory-bytes", "67108865"),
        ("content-type", "text/plain"),
    ];
    host.client
        .send("POST", "/v1/run/echo", &header, b"")
        .expect_problem(400, "limit_above_ceiling");
    for bad in [
        "timeout_ms=0",
        "timeout_ms=-1",
        "timeout_ms=1.5",
        "timeout_ms=x",
        "memory=1",
        "fuel=1e3",
    ] {
        let problem = host
            .client
            .run(&format!("echo?{bad}"), "text/plain", b"")
            .expect(400)
            .json();
        let field = bad.split('=').next().unwrap();
        assert!(
            problem["detail"].as_str().unwrap().contains(field),
            "{problem}"
        );
    }
}

#[test]
fn a_default_above_its_ceiling_is_the_ceiling() {
    let host = Host::with_config("[limits]\nfuel = 1000000000\n[ceilings]\nfuel = 10\n");
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let problem = host
        .client
        .run("echo", "text/plain", b"")
        .expect_problem(422, "fuel_exhausted");
    assert!(problem["detail"].as_str().unwrap().contains("10 of 10"));
}

#[test]
fn a_metered_run_uses_the_same_fuel_every_time() {
    let host = Host::start();
    host.client
        .put_module("primes", &guests::built("primes"))
        .expect(201);
    let input = json!({"from": 1, "to": 20_000}).to_string();
    let fuel = || {
        let answer = host
            .client
            .run(
                "primes?fuel=10000000000",
                "application/json",
                input.as_bytes(),
            )
            .expect(200);
        answer
            .header("cofferdam-fuel-used")
            .parse::<u64>()
            .expect("a metered run tells its fuel")
    };
    let first = fuel();
    assert!(first > 100_000);
    assert_eq!((fuel(), fuel()), (first, first));
    host.client
        .run(
            &format!("primes?fuel={}", first / 2),
            "application/json",
            input.as_bytes(),
        )
        .expect_problem(422, "fuel_exhausted");
}

#[test]
fn an_input_that_does_not_fit_says_where() {
    let host = Host::start();
    host.client
        .put_module("primes", &guests::built("primes"))
        .expect(201);
    let run = |body: &str| {
        host.client
            .run("primes", "application/json", body.as_bytes())
    };
    let problem = run(r#"{"from": "one", "to": 5}"#).expect_problem(422, "invalid_input");
    assert!(
        problem["detail"].as_str().unwrap().contains("from"),
        "{problem}"
    );
}

#[test]
fn a_run_without_a_task_is_attempt_1() {
    let host = Host::start();
    host.client
        .put_module("first", &guests::wat("first-attempt.wat"))
        .expect(201);
    host.client.run("first", "text/plain", b"").expect(200);
    let task = host.client.submit_and_wait(&json!({"module": "first"}));
    assert_eq!(task["status"], "completed", "{task}");
}

#[test]
fn waiting_for_room_ends_in_the_time_that_the_caller_set() {
    let host = Host::with_config("[sandbox]\ninstances_max = 2\n");
    for guest in ["sleep", "echo"] {
        host.client
            .put_module(guest, &guests::wat(&format!("{guest}.wat")))
            .expect(201);
    }
    std::thread::scope(|scope| {
        let sleepers = [(); 2]
            .map(|()| scope.spawn(|| host.client.run("sleep?timeout_ms=6000", "text/plain", b"")));
        let run = || host.client.run("echo?timeout_ms=1000", "text/plain", b"x");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let refused = loop {
            let began = std::time::Instant::now();
            let answer = run();
            if answer.status == 503 {
                assert!(began.elapsed() < std::time::Duration::from_secs(3));
                break answer;
            }
            assert!(std::time::Instant::now() < until, "two sleepers leave room");
        };
        assert_ne!(refused.header("retry-after"), "");
        refused.expect_problem(503, "queue_timeout");
        for sleeper in sleepers {
            sleeper.join().unwrap().expect_problem(422, "timeout");
        }
        run().expect(200);
    });
}
