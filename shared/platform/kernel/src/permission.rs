//! What a person may do: one registry, from which the `permissions` table is seeded (S1.5, S3.5).

macro_rules! permissions {
    ($($variant:ident = $code:literal),+ $(,)?) => {
        /// A permission that a route declares and a role grants.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission { $($variant),+ }

        impl Permission {
            /// Every permission there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As in the `permissions` table and in error details.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }
    };
}

permissions! {
    ApiKeysManage = "apikeys.manage",
    ApprovalsDecide = "approvals.decide",
    ApprovalsPoliciesManage = "approvals.policies.manage",
    ApprovalsRequestsRead = "approvals.requests.read",
    AuditExport = "audit.export",
    AuditRead = "audit.read",
    CodeManage = "code.manage",
    ContactRead = "contact.read",
    ContactCreate = "contact.create",
    ContactUpdate = "contact.update",
    ContactDelete = "contact.delete",
    EntitlementsOverridesManage = "entitlements.overrides.manage",
    EntitlementsView = "entitlements.view",
    GdprManage = "gdpr.manage",
    GroupsManage = "groups.manage",
    GroupsMembersManage = "groups.members.manage",
    MessagingAccountsManage = "messaging.accounts.manage",
    MessagingRead = "messaging.read",
    MessagingSend = "messaging.send",
    PhoneVerifyConfirm = "phone.verify.confirm",
    PhoneVerifyStart = "phone.verify.start",
    PlanView = "plan.view",
    RoleAssign = "role.assign",
    RoleRead = "role.read",
    RolesHierarchyManage = "roles.hierarchy.manage",
    RolesManage = "roles.manage",
    SeatsView = "seats.view",
    SessionReadSelf = "session.read.self",
    SessionRevokeSelf = "session.revoke.self",
    SessionRevokeTenant = "session.revoke.tenant",
    TwoFaManageSelf = "twofa.manage.self",
    TwoFaManageTenant = "twofa.manage.tenant",
    UserDeactivate = "user.deactivate",
    UserDelete = "user.delete",
    UserForceLogout = "user.forceLogout",
    UserInvite = "user.invite",
    UserManage = "user.manage",
    UserRead = "user.read",
    UserReinstate = "user.reinstate",
    UserSuspend = "user.suspend",
    UserUpdate = "user.update",
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
