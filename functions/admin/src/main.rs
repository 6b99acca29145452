//! The admin function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let app = admin_function::App::from_environment().await?;
    web::run(admin_function::routes().into_service(app)).await
}
