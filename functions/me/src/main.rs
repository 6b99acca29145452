//! The me function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let app = me_function::App::from_environment().await?;
    web::run(me_function::routes().into_service(app)).await
}
