//! What a plan can include: features, which are on or off, and limits, which are numbers (S1.7). Two
//! registries, from which the catalogue of plans is seeded.

macro_rules! registry {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($variant),+ }

        impl $name {
            /// Every one there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As in the tables and in error details.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The one with this code.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.code())
            }
        }
    };
}

registry! {
    /// Something that a plan includes or not. A route that needs one declares it.
    Feature {
        ActivitiesEmailSync = "activities.emailSync",
        AdminCustomDictionaries = "admin.customDictionaries",
        AdminEntitlementsOverrides = "admin.entitlementsOverrides",
        Approvals = "approvals",
        ApprovalsParallelSteps = "approvals.parallelSteps",
        Automations = "automations",
        CampaignSmsEnabled = "campaign.sms.enabled",
        CampaignWhatsappEnabled = "campaign.whatsapp.enabled",
        ContactsCustomFields = "contacts.customFields",
        ContactsPrivateRecords = "contacts.privateRecords",
        DashboardCustomSql = "dashboard.customSQL",
        DashboardCustomize = "dashboard.customize",
        DashboardShare = "dashboard.share",
        DashboardSnapshotScheduling = "dashboard.snapshotScheduling",
        DealsCustomFields = "deals.customFields",
        DealsMultiPipelines = "deals.multiPipelines",
        InventoryCodeManagement = "inventory.codeManagement",
        LeadsImport = "leads.import",
        LeadsScoring = "leads.scoring",
        MapsComponentShapes = "maps.componentShapes",
        MapsEnabled = "maps.enabled",
        MapsPublicViews = "maps.publicViews",
        NotificationsSms = "notifications.sms",
        NotificationsWhatsapp = "notifications.whatsapp",
        PlanView = "plan.view",
        RbacGroups = "rbac.groups",
        RbacRoleHierarchy = "rbac.roleHierarchy",
        TasksRecurring = "tasks.recurring",
        TelemarketingEnabled = "telemarketing.enabled",
        TwoFaSms = "twofa.sms",
        TwoFaTotp = "twofa.totp",
        TwoFaWhatsapp = "twofa.whatsapp",
        UnitsBulkEdit = "units.bulkEdit",
        UnitsCustomFields = "units.customFields",
        Whatsapp = "whatsapp",
    }
}

registry! {
    /// How much of something a plan includes.
    Limit {
        ApiRequestsPerMinuteMax = "api.requestsPerMinute.max",
        ApprovalsPoliciesMax = "approvals.policies.max",
        AutomationsMax = "automations.max",
        CampaignRecipientsMax = "campaign.recipients.max",
        CampaignsActiveMax = "campaigns.active.max",
        CompaniesMax = "companies.max",
        ContactsMax = "contacts.max",
        CustomFieldsMax = "customFields.max",
        DashboardSharedLayoutsMax = "dashboard.sharedLayouts.max",
        DashboardWidgetsMax = "dashboard.widgets.max",
        DealsMax = "deals.max",
        FilesBytesMax = "files.bytes.max",
        GroupsMax = "groups.max",
        ImportsRowsMax = "imports.rows.max",
        LeadsMax = "leads.max",
        MapsOverlaysMax = "maps.overlays.max",
        MapsShapesMax = "maps.shapes.max",
        PipelinesMax = "pipelines.max",
        RolesMax = "roles.max",
        SmsMonthlyCap = "sms.monthlyCap",
        SmsPerMinuteMax = "sms.perMinute.max",
        StorageGbMax = "storage.gb.max",
        TasksMax = "tasks.max",
        TelemarketingCampaignsMax = "telemarketing.campaigns.max",
        TelemarketingConcurrentCallsMax = "telemarketing.concurrentCalls.max",
        TelemarketingRecordingsMax = "telemarketing.recordings.max",
        UnitsMax = "units.max",
        UsersMax = "users.max",
        WhatsappMonthlyCap = "whatsapp.monthlyCap",
        WhatsappPerMinuteMax = "whatsapp.perMinute.max",
    }
}
