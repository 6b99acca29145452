//! The contacts function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let app = contacts_function::App::from_environment().await?;
    web::run(contacts_function::routes().into_service(app)).await
}
