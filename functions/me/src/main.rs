//! The me function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    web::run(me_function::App::from_environment(), me_function::routes).await
}
