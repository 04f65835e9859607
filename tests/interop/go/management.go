package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	rabbithole "github.com/michaelklishin/rabbit-hole/v2"
	amqp "github.com/rabbitmq/amqp091-go"
)

// What tools that manage a broker ask its HTTP API for: rabbit-hole, in the order in which the Terraform provider
// `cyrilgdn/rabbitmq` calls it to make, read and delete its resources; and KEDA's RabbitMQ scaler, which has a client of its
// own.

var managementURL = os.Getenv("MANAGEMENT_URL")

var managementChecks = []check{
	{"terraform-vhost", terraformVhost},
	{"terraform-user-and-permissions", terraformUser},
	{"terraform-exchange-queue-binding", terraformTopology},
	{"terraform-policies", terraformPolicies},
	{"terraform-shovel-and-upstream", terraformParameters},
	{"terraform-limits", terraformLimits},
	{"rabbit-hole-lists", rabbitHoleLists},
	{"rabbit-hole-definitions", rabbitHoleDefinitions},
	{"keda-queue", kedaQueue},
	{"keda-regex", kedaRegex},
}

func management() *rabbithole.Client {
	if managementURL == "" {
		panic(errNoManagement)
	}
	return must(rabbithole.NewClient(managementURL, "guest", "guest"))
}

// did is the provider's way to look at the answer to a change: below 400 it was made.
func did(response *http.Response, err error) *http.Response {
	try(err)
	defer response.Body.Close()
	if response.StatusCode >= 400 {
		panic(fmt.Errorf("%s: %s", response.Request.URL, response.Status))
	}
	return response
}

// gone is the provider's way to see that a resource must be made again.
func gone(err error) {
	answer, ok := err.(rabbithole.ErrorResponse)
	expect("an answer with an error", ok, true)
	expect("status of what is gone", answer.StatusCode, http.StatusNotFound)
}

// inVhost runs a check in a vhost of its own.
func inVhost(client *rabbithole.Client, name string, run func(vhost string)) {
	vhost := unique(name)
	did(client.PutVhost(vhost, rabbithole.VhostSettings{}))
	defer func() { did(client.DeleteVhost(vhost)) }()
	run(vhost)
}

func terraformVhost() {
	client := management()
	// A slash has to be escaped, and a space.
	vhost := unique("a/b c")
	settings := rabbithole.VhostSettings{Description: "made by a check", Tags: []string{"a", "b"}}
	expect("first put", did(client.PutVhost(vhost, settings)).StatusCode, http.StatusCreated)
	expect("second put", did(client.PutVhost(vhost, settings)).StatusCode, http.StatusNoContent)
	info := must(client.GetVhost(vhost))
	expect("name", info.Name, vhost)
	expect("description", info.Description, settings.Description)
	expect("tags", info.Tags, settings.Tags)
	did(client.DeleteVhost(vhost))
	_, err := client.GetVhost(vhost)
	gone(err)
}

func terraformUser() {
	client := management()
	name := unique("user")
	did(client.PutUser(name, rabbithole.UserSettings{Password: "secret", Tags: rabbithole.UserTags{"management", "team"}}))
	defer func() {
		did(client.DeleteUser(name))
		_, err := client.GetUser(name)
		gone(err)
	}()
	user := must(client.GetUser(name))
	expect("tags", []string(user.Tags), []string{"management", "team"})
	expect("hashing algorithm", user.HashingAlgorithm, rabbithole.HashingAlgorithmSHA256)
	inVhost(client, "permissions", func(vhost string) {
		_, err := client.GetPermissionsIn(vhost, name)
		gone(err)
		wanted := rabbithole.Permissions{Configure: "^a", Write: "", Read: ".*"}
		did(client.UpdatePermissionsIn(vhost, name, wanted))
		info := must(client.GetPermissionsIn(vhost, name))
		expect("permissions", rabbithole.Permissions{Configure: info.Configure, Write: info.Write, Read: info.Read}, wanted)
		// The user that was made can log in, and sees the vhost.
		own := must(rabbithole.NewClient(managementURL, name, "secret"))
		expect("whoami", must(own.Whoami()).Name, name)
		expect("vhosts that it sees", len(must(own.ListVhosts())), 1)
		did(client.ClearPermissionsIn(vhost, name))
		_, err = client.GetPermissionsIn(vhost, name)
		gone(err)
	})
	// A password that is changed replaces the old one.
	did(client.PutUser(name, rabbithole.UserSettings{Password: "other", Tags: rabbithole.UserTags{"management"}}))
	must(must(rabbithole.NewClient(managementURL, name, "other")).Whoami())
	_, err := must(rabbithole.NewClient(managementURL, name, "secret")).Whoami()
	expect("the old password is refused", err != nil, true)
}

func terraformTopology() {
	client := management()
	inVhost(client, "topology", func(vhost string) {
		exchange := rabbithole.ExchangeSettings{Type: "topic", Durable: true, Arguments: map[string]interface{}{"alternate-exchange": "amq.fanout"}}
		did(client.DeclareExchange(vhost, "x", exchange))
		found := must(client.GetExchange(vhost, "x"))
		expect("exchange", []any{found.Type, found.Durable, bool(found.AutoDelete), found.Arguments["alternate-exchange"]},
			[]any{"topic", true, false, "amq.fanout"})

		queue := rabbithole.QueueSettings{Durable: true, Arguments: map[string]interface{}{"x-message-ttl": 60000, "x-queue-type": "quorum"}}
		did(client.DeclareQueue(vhost, "q 1/2", queue))
		read := must(client.GetQueue(vhost, "q 1/2"))
		expect("queue", []any{read.Name, read.Durable, bool(read.AutoDelete), read.Type}, []any{"q 1/2", true, false, "quorum"})
		// A JSON number stays one.
		expect("number among the arguments", read.Arguments["x-message-ttl"], float64(60000))

		for _, wanted := range []rabbithole.BindingInfo{
			{RoutingKey: "a.#"},
			{RoutingKey: ""},
			{RoutingKey: "b c/~", Arguments: map[string]interface{}{"n": 1, "t": "text"}},
		} {
			wanted.Source, wanted.Destination, wanted.DestinationType = "x", "q 1/2", "queue"
			terraformBinding(client, vhost, wanted)
		}
		did(client.DeleteQueue(vhost, "q 1/2"))
		_, err := client.GetQueue(vhost, "q 1/2")
		gone(err)
		did(client.DeleteExchange(vhost, "x"))
		_, err = client.GetExchange(vhost, "x")
		gone(err)
	})
}

// terraformBinding makes a binding, finds it again by the key at the end of its location, and deletes it by that key.
func terraformBinding(client *rabbithole.Client, vhost string, wanted rabbithole.BindingInfo) {
	response := did(client.DeclareBinding(vhost, wanted))
	expect("status of a new binding", response.StatusCode, http.StatusCreated)
	location := strings.Split(response.Header.Get("Location"), "/")
	key := must(url.PathUnescape(location[len(location)-1]))
	find := func() (found []rabbithole.BindingInfo) {
		for _, binding := range must(client.ListBindingsIn(vhost)) {
			if binding.Source == wanted.Source && binding.Destination == wanted.Destination &&
				binding.DestinationType == wanted.DestinationType && binding.PropertiesKey == key {
				found = append(found, binding)
			}
		}
		return found
	}
	found := find()
	expect("bindings with the key "+key, len(found), 1)
	expect("routing key", found[0].RoutingKey, wanted.RoutingKey)
	wanted.PropertiesKey = key
	did(client.DeleteBinding(vhost, wanted))
	expect("bindings after the deletion", len(find()), 0)
}

func terraformPolicies() {
	client := management()
	inVhost(client, "policies", func(vhost string) {
		definition := rabbithole.PolicyDefinition{"max-length": 1000, "overflow": "reject-publish"}
		did(client.PutPolicy(vhost, "p", rabbithole.Policy{Pattern: "^q", ApplyTo: "queues", Priority: 3, Definition: definition}))
		policy := must(client.GetPolicy(vhost, "p"))
		expect("policy", []any{policy.Pattern, policy.ApplyTo, policy.Priority, policy.Definition["max-length"]},
			[]any{"^q", "queues", 3, float64(1000)})
		did(client.DeletePolicy(vhost, "p"))
		_, err := client.GetPolicy(vhost, "p")
		gone(err)

		operator := rabbithole.OperatorPolicy{Pattern: ".*", ApplyTo: "queues", Definition: rabbithole.PolicyDefinition{"expires": 3600000}}
		did(client.PutOperatorPolicy(vhost, "o", operator))
		read := must(client.GetOperatorPolicy(vhost, "o"))
		expect("operator policy", []any{read.Pattern, read.ApplyTo, read.Definition["expires"]}, []any{".*", "queues", float64(3600000)})
		did(client.DeleteOperatorPolicy(vhost, "o"))
		_, err = client.GetOperatorPolicy(vhost, "o")
		gone(err)
	})
}

// A shovel and an upstream are parameters: kept and given back, also by a broker that runs neither.
func terraformParameters() {
	client := management()
	inVhost(client, "parameters", func(vhost string) {
		shovel := rabbithole.ShovelDefinition{
			SourceURI: rabbithole.URISet{"amqp://"}, SourceQueue: "a", DestinationURI: rabbithole.URISet{"amqp://"}, DestinationQueue: "b",
		}
		response, err := client.DeclareShovel(vhost, "s", shovel)
		try(err)
		if response.StatusCode >= 400 {
			// RabbitMQ without the plugin.
			return
		}
		read := must(client.GetShovel(vhost, "s"))
		expect("shovel", []any{read.Definition.SourceQueue, read.Definition.DestinationQueue, []string(read.Definition.SourceURI)},
			[]any{"a", "b", []string{"amqp://"}})
		did(client.DeleteShovel(vhost, "s"))
		_, err = client.GetShovel(vhost, "s")
		gone(err)

		upstream := rabbithole.FederationDefinition{Uri: rabbithole.URISet{"amqp://elsewhere"}, PrefetchCount: 10, AckMode: "on-confirm"}
		did(client.PutFederationUpstream(vhost, "f", upstream))
		found := must(client.GetFederationUpstream(vhost, "f"))
		expect("upstream", []any{[]string(found.Definition.Uri), found.Definition.PrefetchCount}, []any{[]string{"amqp://elsewhere"}, 10})
		did(client.DeleteFederationUpstream(vhost, "f"))
		_, err = client.GetFederationUpstream(vhost, "f")
		gone(err)
	})
}

func terraformLimits() {
	client := management()
	name := unique("limited")
	did(client.PutUser(name, rabbithole.UserSettings{Password: "secret"}))
	defer func() { did(client.DeleteUser(name)) }()
	did(client.PutUserLimits(name, rabbithole.UserLimitsValues{"max-connections": 5, "max-channels": 7}))
	limits := must(client.GetUserLimits(name))
	expect("user limits", limits[0].Value, rabbithole.UserLimitsValues{"max-connections": 5, "max-channels": 7})
	did(client.DeleteUserLimits(name, rabbithole.UserLimits{"max-connections", "max-channels"}))
	inVhost(client, "limited", func(vhost string) {
		did(client.PutVhostLimits(vhost, rabbithole.VhostLimitsValues{"max-queues": 3}))
		expect("vhost limits", must(client.GetVhostLimits(vhost))[0].Value, rabbithole.VhostLimitsValues{"max-queues": 3})
		did(client.DeleteVhostLimits(vhost, rabbithole.VhostLimits{"max-queues"}))
	})
}

// rabbitHoleLists has the library parse all lists while there is something in each of them.
func rabbitHoleLists() {
	client := management()
	connection := connect()
	defer connection.Close()
	channel := openChannel(connection)
	queue := exclusiveQueue(channel, unique("listed"))
	must(channel.Consume(queue, "a-tag", false, false, false, false, nil))

	overview := must(client.Overview())
	expect("queues counted", overview.ObjectTotals.Queues > 0, true)
	expect("a version that tools compare", regexp.MustCompile(`^\d+\.\d+\.\d+`).MatchString(overview.RabbitMQVersion), true)
	node := must(client.ListNodes())[0]
	expect("the node by its name", must(client.GetNode(node.Name)).Name, node.Name)
	expect("the node runs", node.IsRunning, true)
	eventually("the consumer is listed", func() bool { return len(must(client.ListConsumersIn("/"))) > 0 })
	eventually("the connection is listed", func() bool { return len(must(client.ListConnections())) > 0 })
	one := must(client.ListConnections())[0]
	expect("the connection by its name", must(client.GetConnection(one.Name)).Name, one.Name)
	eventually("the channel is listed", func() bool { return len(must(client.ListChannels())) > 0 })
	must(client.ListExchanges())
	must(client.ListQueues())
	must(client.ListBindings())
	must(client.ListUsers())
	must(client.ListPermissions())
	must(client.ListTopicPermissions())
	must(client.ListPolicies())
	must(client.ListOperatorPolicies())
	must(client.ListRuntimeParameters())
	must(client.ListGlobalParameters())
	must(client.ListFeatureFlags())
	must(client.GetAllUserLimits())
	must(client.GetAllVhostLimits())
	must(client.GetClusterName())
	expect("health", must(client.HealthCheckAlarms()).Status, "ok")
	expect("health", must(client.HealthCheckVirtualHosts()).Status, "ok")
	expect("health", must(client.HealthCheckProtocolListener(rabbithole.AMQP)).Status, "ok")
	detailed := must(client.GetQueue("/", queue))
	expect("its owner", detailed.OwnerPidDetails.Name != "", true)
}

func rabbitHoleDefinitions() {
	client := management()
	inVhost(client, "definitions", func(vhost string) {
		did(client.DeclareQueue(vhost, "q", rabbithole.QueueSettings{Durable: true}))
		all := must(client.ListDefinitions())
		named := func() (named bool) {
			for _, queue := range *all.Queues {
				named = named || queue.Vhost == vhost && queue.Name == "q"
			}
			return named
		}
		expect("the queue is in it", named(), true)
		did(client.DeleteQueue(vhost, "q"))
		// Sent back, it makes what is missing. The library forgets whose the permissions are, so they are left out.
		all.Permissions = &[]rabbithole.Permissions{}
		did(client.UploadDefinitions(all))
		expect("the queue is there again", must(client.GetQueue(vhost, "q")).Durable, true)
	})
}

// A queue as KEDA's scaler reads it.
type kedaInfo struct {
	Messages               int              `json:"messages"`
	MessagesReady          int              `json:"messages_ready"`
	MessagesUnacknowledged int              `json:"messages_unacknowledged"`
	MessageStat            kedaMessageStats `json:"message_stats"`
	Name                   string           `json:"name"`
}

type kedaMessageStats struct {
	PublishDetail struct {
		Rate float64 `json:"rate"`
	} `json:"publish_details"`
}

// kedaAsk asks as the scaler does: the login in the address, and any status but 200 an error with the body in it.
func kedaAsk(path string, into any) error {
	address := must(url.Parse(managementURL))
	address.User = url.UserPassword("guest", "guest")
	response := must(http.Get(address.String() + path))
	defer response.Body.Close()
	body := must(io.ReadAll(response.Body))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("error requesting rabbitMQ API status: %s, response: %s", response.Status, body)
	}
	return json.Unmarshal(body, into)
}

func kedaQueue() {
	management()
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	name := declareQueue(channel, unique("keda/one"), true)
	defer channel.QueueDelete(name, false, false, false)
	publishNumbers(channel, name, 3, amqp.Persistent)
	must2(channel.Get(name, false))
	path := "/api/queues/%2F/" + url.QueryEscape(name)
	var info kedaInfo
	eventually("the messages are counted", func() bool {
		try(kedaAsk(path, &info))
		return info.Messages == 3 && info.MessagesReady == 2 && info.MessagesUnacknowledged == 1
	})
	expect("name", info.Name, name)
	err := kedaAsk("/api/queues/%2F/"+url.QueryEscape(unique("nope")), &info)
	expect("a queue that is not there is an error", err != nil && strings.Contains(err.Error(), "404"), true)
}

func kedaRegex() {
	management()
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	for _, name := range []string{"keda-a", "keda-b", "other"} {
		name = declareQueue(channel, unique(name), true)
		defer channel.QueueDelete(name, false, false, false)
		publishNumbers(channel, name, 2, amqp.Persistent)
	}
	pattern := "^" + regexp.QuoteMeta(unique("keda-")) + "[ab]$"
	var page struct {
		Queues     []kedaInfo `json:"items"`
		TotalPages int        `json:"page_count"`
	}
	eventually("the messages of both are counted", func() bool {
		try(kedaAsk("/api/queues/%2F?page=1&use_regex=true&pagination=false&name="+url.QueryEscape(pattern)+"&page_size=100", &page))
		sum := 0
		for _, queue := range page.Queues {
			sum += queue.Messages
		}
		return len(page.Queues) == 2 && sum == 4
	})
	expect("pages", page.TotalPages, 1)
}
